/*
 * The plain page: live values of every meter and the last hour of one. It speaks only to the
 * public API, keeps no key, and puts everything it was told into the page as text.
 */
"use strict";

const POLL_MS = 2000;
const HISTORY_MS = 20000;
const STALE_S = 60;
const PAGE_LIMIT = 500;
const SHOWN_MOST = 500;

const texts = {
  id: {
    loginTitle: "Masuk", keyLabel: "Kunci admin", login: "Masuk", logout: "Keluar",
    loginHint: "Kunci ada di berkas endpoints.json, atau pakai tautan sekali pakai yang dicetak saat mulai.",
    wrongKey: "Kunci tidak sah.", wrongTicket: "Tautan masuk sudah dipakai atau tidak sah.",
    slowDown: "Terlalu banyak percobaan. Tunggu {n} detik.",
    metersTitle: "Meter", meter: "Meter", solar: "Surya", load: "Beban", import: "Impor",
    export: "Ekspor", battery: "Baterai", seen: "Terakhir", meters: "Meter aktif",
    noMeters: "Belum ada meter yang mengirim data.",
    more: "{n} meter pertama ditampilkan.",
    back: "← Semua meter", lastHour: "Satu jam terakhir", values: "Nilai per menit",
    noRows: "Belum ada baris menit untuk satu jam terakhir.", time: "Waktu",
    live: "langsung", trouble: "Server tidak menjawab; mencoba lagi.",
    storeDown: "Penyimpanan sedang tidak menjawab; mencoba lagi.",
    gone: "Meter ini tidak mengirim data baru-baru ini.",
    never: "belum pernah", seconds: "{n} dtk", minutes: "{n} mnt", hours: "{n} jam",
    days: "{n} hari", other: "English", chartLabel: "Grafik daya satu jam terakhir",
  },
  en: {
    loginTitle: "Sign in", keyLabel: "Admin key", login: "Sign in", logout: "Sign out",
    loginHint: "The key is in endpoints.json; or use the one-time link printed at start.",
    wrongKey: "The key is not valid.", wrongTicket: "The sign-in link was used or is not valid.",
    slowDown: "Too many attempts. Wait {n} seconds.",
    metersTitle: "Meters", meter: "Meter", solar: "Solar", load: "Load", import: "Import",
    export: "Export", battery: "Battery", seen: "Last seen", meters: "Active meters",
    noMeters: "No meter has sent anything yet.",
    more: "The first {n} meters are shown.",
    back: "← All meters", lastHour: "Last hour", values: "Values by minute",
    noRows: "There are no minute rows for the last hour yet.", time: "Time",
    live: "live", trouble: "The server does not answer; trying again.",
    storeDown: "The store does not answer; trying again.",
    gone: "This meter has not sent anything recently.",
    never: "never", seconds: "{n} s", minutes: "{n} min", hours: "{n} h", days: "{n} d",
    other: "Bahasa Indonesia", chartLabel: "Power over the last hour",
  },
};

const series = [
  { name: "solar", columns: ["solar_output_power_avg"] },
  { name: "load", columns: ["load_smart_mtr_power_avg", "load_home_power_avg"] },
  { name: "import", columns: ["import_power_avg"] },
  { name: "export", columns: ["export_power_avg"] },
];

let language = "id";
let meters = [];
let rows = [];
let openMeter = null;
let pollTimer = 0;
let historyTimer = 0;
let clockOffsetMs = 0;

const byId = (id) => document.getElementById(id);

function t(name, n) {
  return texts[language][name].replace("{n}", n);
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function svgElement(tag, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

/* ---- Values ---- */

/* Unit factors to mW: a meter may say in "units" what it measures in. */
const toMilliwatt = { mW: 1, W: 1e3, kW: 1e6 };

function powerOf(message, path) {
  const value = path.reduce((at, key) => (at && typeof at === "object" ? at[key] : undefined), message?.data);
  if (typeof value !== "number") return null;
  return value * (toMilliwatt[message.units?.power] ?? 1);
}

function sum(values) {
  const known = values.filter((v) => v !== null && v !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}

function flowsOf(meter) {
  const m = meter.data;
  return {
    solar: powerOf(m, ["solar_output", "power"]),
    load: sum([powerOf(m, ["load_smart_mtr", "power"]), powerOf(m, ["load_home", "power"])]),
    import: powerOf(m, ["import", "power"]),
    export: powerOf(m, ["export", "power"]),
  };
}

function formatNumber(value, digits) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
}

function formatPower(mw) {
  if (mw === null || mw === undefined) return "–";
  const size = Math.abs(mw);
  if (size >= 1e6) return `${formatNumber(mw / 1e6, 2)} kW`;
  if (size >= 1e4) return `${formatNumber(mw / 1e3, 0)} W`;
  if (size >= 1e3) return `${formatNumber(mw / 1e3, 2)} W`;
  return `${formatNumber(mw, 0)} mW`;
}

function formatClock(ms) {
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "Asia/Jakarta" }).format(ms);
}

function ageOf(meter) {
  return meter.lastSeen ? Math.max(0, (Date.now() + clockOffsetMs - Date.parse(meter.lastSeen)) / 1000) : Infinity;
}

function formatAge(seconds) {
  if (!Number.isFinite(seconds)) return t("never");
  if (seconds < 100) return t("seconds", Math.round(seconds));
  if (seconds < 6000) return t("minutes", Math.round(seconds / 60));
  if (seconds < 172800) return t("hours", Math.round(seconds / 3600));
  return t("days", Math.round(seconds / 86400));
}

/* ---- Talking to the server ---- */

class HttpError extends Error {
  constructor(response) {
    super(`status ${response.status}`);
    this.status = response.status;
    this.retryAfter = response.headers.get("Retry-After");
  }
}

async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(15000), ...options });
  const date = Date.parse(response.headers.get("Date"));
  if (date) clockOffsetMs = Math.abs(date - Date.now()) > 5000 ? date - Date.now() : 0;
  if (!response.ok) throw new HttpError(response);
  return response.status === 204 ? null : response.json();
}

async function openSession(credentials) {
  await ask("/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(credentials),
  });
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function explain(error, whenUnauthorized) {
  if (error.status === 401) return whenUnauthorized;
  if (error.status === 429) return t("slowDown", error.retryAfter);
  return error.status === 503 ? t("storeDown") : t("trouble");
}

/* ---- The fleet ---- */

function total(kind, label, value) {
  const box = element("dl", `total ${kind}`);
  box.append(element("dt", "", label), element("dd", "", value));
  return box;
}

function flowTotals(flows) {
  return series.map((s) => total(s.name, t(s.name), formatPower(flows[s.name])));
}

function drawTotals() {
  const active = meters.filter((m) => ageOf(m) < STALE_S);
  const flows = active.map(flowsOf);
  const sums = Object.fromEntries(series.map((s) => [s.name, sum(flows.map((f) => f[s.name]))]));
  const count = total("", t("meters"), String(active.length));
  count.lastChild.append(element("small", "", ` / ${meters.length}`));
  byId("totals").replaceChildren(count, ...flowTotals(sums));
}

function batteryCell(meter) {
  const cell = element("td", "cell-battery");
  const battery = meter.data?.data?.battery;
  const soc = battery?.soc;
  cell.dataset.label = t("battery");
  if (typeof soc !== "number" || battery.valid === false || battery.connected === false) {
    cell.append(element("span", "", "–"));
    return cell;
  }
  const gauge = element("span", "gauge");
  const bar = element("meter");
  bar.min = 0;
  bar.max = 100;
  bar.low = 20;
  bar.optimum = 100;
  bar.value = soc;
  bar.setAttribute("aria-label", t("battery"));
  gauge.append(bar, element("span", "", `${formatNumber(soc, 0)} %${battery.is_charging ? " ↑" : ""}`));
  cell.append(gauge);
  return cell;
}

function meterRow(meter) {
  const row = element("tr", ageOf(meter) >= STALE_S ? "stale" : "");
  const flows = flowsOf(meter);
  const name = element("th");
  const link = element("a", "", meter.meterId);
  name.scope = "row";
  link.href = `#meter=${encodeURIComponent(meter.meterId)}`;
  name.append(link);
  row.append(name);
  for (const s of series) {
    const cell = element("td", `number ${s.name}${flows[s.name] ? "" : " zero"}`, formatPower(flows[s.name]));
    cell.dataset.label = t(s.name);
    row.append(cell);
  }
  const seen = element("td", "number seen", formatAge(ageOf(meter)));
  seen.dataset.label = t("seen");
  row.append(batteryCell(meter), seen);
  row.addEventListener("click", () => { location.hash = link.hash; });
  return row;
}

function drawFleet() {
  const body = document.querySelector("#meters tbody");
  const focused = body.contains(document.activeElement) ? document.activeElement.hash : "";
  body.replaceChildren(...meters.slice(0, SHOWN_MOST).map(meterRow));
  if (focused) [...body.querySelectorAll("a")].find((a) => a.hash === focused)?.focus();
  byId("meters").hidden = meters.length === 0;
  byId("empty").hidden = meters.length > 0;
  byId("more").hidden = meters.length <= SHOWN_MOST;
  byId("more").textContent = t("more", SHOWN_MOST);
  drawTotals();
}

/* Ages go on between two answers. */
function tickAges() {
  document.querySelectorAll("#meters tbody tr").forEach((row, i) => {
    const age = ageOf(meters[i]);
    row.classList.toggle("stale", age >= STALE_S);
    row.querySelector(".seen").textContent = formatAge(age);
  });
}

async function fetchMeters() {
  const all = [];
  let cursor = null;
  do {
    const page = await ask(`/telemetry/latest/all?limit=${PAGE_LIMIT}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    all.push(...page.data);
    cursor = page.meta.next;
  } while (cursor && all.length <= SHOWN_MOST);
  return all;
}

/* ---- One meter ---- */

function valueAt(row, columns) {
  return sum(columns.map((c) => row[c]));
}

function niceStep(span) {
  const power = 10 ** Math.floor(Math.log10(span / 5));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => span / step <= 5);
}

/* Straight pieces between neighbouring minutes; a missing minute leaves a gap. */
function linePath(points, x, y) {
  let path = "";
  let lastMs = -Infinity;
  for (const [ms, value] of points) {
    if (value === null) continue;
    path += `${ms - lastMs > 90000 ? "M" : "L"}${x(ms).toFixed(1)} ${y(value).toFixed(1)}`;
    lastMs = ms;
  }
  return path;
}

function drawChart() {
  const [width, height, left, right, top, bottom] = [720, 260, 64, 12, 12, 26];
  const end = Date.now() + clockOffsetMs;
  const start = end - 3600000;
  const lines = series.map((s) => ({ name: s.name, points: rows.map((r) => [Date.parse(r.bucket), valueAt(r, s.columns)]) }));
  const values = lines.flatMap((l) => l.points.map((p) => p[1])).filter((v) => v !== null);
  const low = Math.min(0, ...values);
  const high = Math.max(low + 1, ...values);
  const step = niceStep(high - low);
  const [floor, ceiling] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const x = (ms) => left + ((ms - start) / (end - start)) * (width - left - right);
  const y = (v) => top + ((ceiling - v) / (ceiling - floor)) * (height - top - bottom);
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("chartLabel") });

  for (let v = floor; v <= ceiling + step / 2; v += step) {
    svg.append(svgElement("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
    svg.append(svgElement("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, formatPower(v)));
  }
  for (let ms = Math.ceil(start / 600000) * 600000; ms <= end; ms += 600000)
    svg.append(svgElement("text", { x: x(ms), y: height - 6, "text-anchor": "middle" }, formatClock(ms)));
  for (const line of lines)
    svg.append(svgElement("path", { class: line.name, d: linePath(line.points, x, y) }));
  byId("chart").replaceChildren(svg);
}

function drawLegend() {
  byId("legend").replaceChildren(...series.map((s) => {
    const item = element("span", s.name);
    const mark = svgElement("svg", { viewBox: "0 0 32 10", "aria-hidden": "true" });
    mark.append(svgElement("path", { class: s.name, d: "M0 5H32" }));
    item.append(mark, t(s.name));
    return item;
  }));
}

function drawRows() {
  const head = document.querySelector("#rows thead tr");
  const body = document.querySelector("#rows tbody");
  const names = ["time", ...series.map((s) => s.name), "battery"];
  head.replaceChildren(...names.map((n, i) => {
    const th = element("th", i ? "number" : "", t(n));
    th.scope = "col";
    return th;
  }));
  body.replaceChildren(...[...rows].reverse().map((row) => {
    const tr = element("tr");
    const time = element("th", "", formatClock(Date.parse(row.bucket)));
    time.scope = "row";
    const soc = row.battery_soc_avg;
    tr.append(time, ...series.map((s) => element("td", "number", formatPower(valueAt(row, s.columns)))),
      element("td", "number", soc === null ? "–" : `${formatNumber(soc, 1)} %`));
    return tr;
  }));
}

function drawDetail() {
  const meter = meters.find((m) => m.meterId === openMeter);
  const soc = meter?.data?.data?.battery?.soc;
  byId("detail-title").textContent = openMeter;
  byId("no-rows").hidden = rows.length > 0;
  byId("chart").hidden = byId("legend").hidden = rows.length === 0;
  drawLegend();
  drawChart();
  drawRows();
  if (!meter) {
    byId("detail-now").replaceChildren(element("p", "hint", t("gone")));
    return;
  }
  byId("detail-now").replaceChildren(...flowTotals(flowsOf(meter)),
    total("battery", t("battery"), typeof soc === "number" ? `${formatNumber(soc, 1)} %` : "–"),
    total("", t("seen"), formatAge(ageOf(meter))));
}

async function fetchRows(meterId) {
  const columns = [...series.flatMap((s) => s.columns), "battery_soc_avg"].join(",");
  const page = await ask(`/telemetry/history/${encodeURIComponent(meterId)}?metrics=${columns}`);
  if (meterId === openMeter) rows = page.data;
}

/* ---- What is shown ---- */

function show(section) {
  for (const id of ["login", "fleet", "detail"]) byId(id).hidden = id !== section;
  byId("logout").hidden = section === "login";
}

function draw() {
  document.documentElement.lang = language;
  document.querySelectorAll("[data-text]").forEach((e) => { e.textContent = t(e.dataset.text); });
  byId("language").textContent = t("other");
  if (openMeter) drawDetail();
  else drawFleet();
}

function leave(message) {
  clearTimeout(pollTimer);
  clearTimeout(historyTimer);
  pollTimer = historyTimer = 0;
  byId("state").textContent = "";
  meters = [];
  rows = [];
  show("login");
  draw();
  notice(message);
  byId("key").focus();
}

async function poll() {
  clearTimeout(pollTimer);
  try {
    meters = await fetchMeters();
    byId("state").textContent = t("live");
    notice("");
    show(openMeter ? "detail" : "fleet");
    draw();
  } catch (error) {
    if (error.status === 401) return leave("");
    byId("state").textContent = "";
    notice(explain(error, ""));
  }
  pollTimer = setTimeout(poll, POLL_MS);
}

async function pollHistory() {
  clearTimeout(historyTimer);
  if (!openMeter) return;
  try {
    await fetchRows(openMeter);
    drawDetail();
  } catch (error) {
    if (error.status === 401) return leave("");
    notice(explain(error, ""));
  }
  historyTimer = setTimeout(pollHistory, HISTORY_MS);
}

/* "#meter=ID" opens a meter, "#login=TICKET" opens a session; anything else is the fleet. */
async function follow() {
  const [name, value] = location.hash.slice(1).split("=");
  if (name === "login" && value) {
    history.replaceState(null, "", location.pathname);
    try {
      await openSession({ ticket: decodeURIComponent(value) });
    } catch (error) {
      return leave(explain(error, t("wrongTicket")));
    }
  }
  openMeter = name === "meter" && value ? decodeURIComponent(value) : null;
  rows = [];
  await poll();
  await pollHistory();
}

function start() {
  try {
    language = localStorage.getItem("language") === "en" ? "en" : "id";
  } catch {
    language = "id";
  }
  byId("language").addEventListener("click", () => {
    language = language === "id" ? "en" : "id";
    try { localStorage.setItem("language", language); } catch { /* a browser may forbid storage */ }
    draw();
  });
  byId("login-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await openSession({ key: byId("key").value });
      byId("key").value = "";
      await follow();
    } catch (error) {
      notice(explain(error, t("wrongKey")));
    }
  });
  byId("logout").addEventListener("click", async () => {
    try {
      await ask("/session", { method: "DELETE" });
    } catch { /* the session may be over already */ }
    leave("");
  });
  addEventListener("hashchange", follow);
  setInterval(tickAges, 1000);
  draw();
  follow();
}

start();
