# The front door. Meson does the work; these are the commands worth remembering.
#
#   make         build/enerlink and build/enerlink-sim
#   make setup   install what is needed (Debian 12)
#   make run     set-up, build, and everything on this machine with 25 simulated meters
#   make test    set-up and every test; the last line is "N passed, N failed"
#   make check   quick: the test programs under sanitizers, without servers
#   make sim     simulated years of trouble: SEEDS=n new seeds (default 2000)
#   make fmt     lay out the code
#   make bench   the figures of docs/design.md
#   make clean   remove what was built

SEEDS ?= 2000

.PHONY: all build-dev setup run test check sim fmt bench clean

all: build/build.ninja
	@meson compile -C build enerlink enerlink-sim

build/build.ninja:
	@command -v meson >/dev/null || { echo "meson is not installed: make setup" >&2; exit 1; }
	@meson setup build

build-dev: build-dev/build.ninja
	@meson compile -C build-dev

build-dev/build.ninja:
	@meson setup build-dev --buildtype=debug -Db_sanitize=address,undefined

setup:
	@tools/setup

run: setup
	@$(MAKE) --no-print-directory all
	@exec build/enerlink up --meters 25 --demo

test:
	@tools/test

check: build-dev
	@meson test -C build-dev --no-rebuild --no-suite servers

sim: build/build.ninja
	@ninja -C build tests/sim/sim >/dev/null
	@build/tests/sim/sim --seeds $(SEEDS) --fresh

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

bench: all
	@bench/ingest.sh && bench/aggregate.sh && bench/api.sh

clean:
	@rm -rf build build-dev
