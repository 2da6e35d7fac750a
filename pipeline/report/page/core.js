// Elements, data blocks and routes: what every view uses. Text only ever enters the page as text, never as markup.

const overview = JSON.parse(document.getElementById("overview").textContent);
const parsed = new Promise((done) => {
  if (document.readyState !== "loading") done();
  else document.addEventListener("DOMContentLoaded", done);
});

/** An element with attributes (a function is a listener, null and false are left out) and children (elements or text). */
function h(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "title", "polyline"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "style") Object.entries(value).forEach(([k, v]) => element.style.setProperty(k, v));
    else element.setAttribute(key, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** Append elements and texts, however nested. */
function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

// ---------------------------------------------------------------- data

const blocks = new Map();
const TYPES = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };

/** The columns of a block of data, decoded once; null where the page does not hold it. */
function block(name) {
  if (!blocks.has(name)) blocks.set(name, readBlock(name));
  return blocks.get(name);
}

async function readBlock(name) {
  await parsed;
  const element = document.getElementById(`data-${name}`);
  if (!element) return null;
  const packed = fromBase64(element.textContent);
  element.remove(); // its text is not needed twice
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const columns = {};
  for (const [key, column] of Object.entries(header)) {
    const data = bytes.subarray(4 + size + column.at, 4 + size + column.at + column.bytes);
    columns[key] = column.kind === "json" ? JSON.parse(new TextDecoder().decode(data)) : readNumbers(column, data);
  }
  return columns;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

function readNumbers(column, data) {
  const type = TYPES[column.kind];
  const width = type.BYTES_PER_ELEMENT;
  const count = data.length / width;
  let bytes = data.slice();
  if (column.order !== "sequence" && width > 1) {
    bytes = new Uint8Array(data.length);
    for (let plane = 0; plane < width; plane++) {
      for (let i = 0; i < count; i++) bytes[i * width + plane] = data[plane * count + i];
    }
  }
  const values = new type(bytes.buffer);
  if (column.order !== "deltas") return values;
  const sums = new Int32Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) sums[i] = sum += values[i];
  return sums;
}

// ---------------------------------------------------------------- routes: #view/path?key=value

const views = new Map();
let shown = null;

/** Register a view: `render(main, path, params)` fills `main`. */
function view(name, title, render) {
  views.set(name, { title, render });
}

function link(name, path = "", params = {}) {
  const kept = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = kept.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join("&");
  const place = String(path).split("/").map(encodeURIComponent).join("/");
  return `#${name}${place ? `/${place}` : ""}${query ? `?${query}` : ""}`;
}

function readHash() {
  const [place, query = ""] = location.hash.slice(1).split("?");
  const [name, ...path] = place.split("/");
  const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  const params = {};
  for (const pair of query.split("&").filter(Boolean)) {
    const [key, value = ""] = pair.split("=");
    params[decode(key)] = decode(value);
  }
  return { name: views.has(name) ? name : "overview", path: path.map(decode).join("/"), params };
}

/** Note the state of a view in the address, without going anywhere. */
function note(name, path, params) {
  const hash = link(name, path, params);
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

async function show() {
  const place = readHash();
  const main = document.getElementById("main");
  const turn = (shown = Symbol("turn"));
  for (const tab of document.querySelectorAll("#tabs a")) {
    if (tab.dataset.view === place.name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.querySelector("#tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const content = h("div", { class: `view of-${place.name}` });
  try {
    await views.get(place.name).render(content, place.path, place.params);
  } catch (error) {
    content.replaceChildren(h("p", { role: "alert" }, `This part could not be shown: ${error.message}`));
    console.error(error);
  }
  if (turn !== shown) return; // another view was asked for meanwhile
  const focus = document.activeElement?.id;
  main.replaceChildren(content);
  window.scrollTo(0, 0);
  if (main.dataset.view) ((focus && content.querySelector(`#${CSS.escape(focus)}`)) || main).focus({ preventScroll: true });
  document.title = `${views.get(place.name).title} · ${overview.preset}`;
  main.dataset.view = place.name;
}

/** Say something to those who listen rather than look. */
function say(text) {
  document.getElementById("said").textContent = text;
}
