// The page: what is asked, what is answered, and the lists. Texts of documents are put in as text alone.

import { drawFrontier, drawMap, point } from "./pictures.js";

const SHARPNESS = [1, 2, 4, 8, 16, 32];
const PAUSE = 250; // milliseconds without a move, after which what takes longer is asked for
const at = (id) => document.getElementById(id);

let about = null;
let state = { query: "", like: "", unit: "k", k: 10, tokens: 800, diversity: 0.3, objective: "max-sum", sharpness: 8,
  layout: "near" };
let candidates = null, candidatesOf = "";
let neighborhoods = null, neighborhoodsOf = "";
let frontier = null, frontierOf = "";
let picture = null;
let reasons = {};
let busy = false, waiting = null, moves = 0, pause = 0;

/** Return what a request asks, of a state. */
function asked(one, more = {}) {
  const wish = { diversity: one.diversity, objective: one.objective, ...more };
  if (one.query) wish.query = one.query; else wish.like = one.like;
  if (one.unit === "k") wish.k = one.k; else wish.tokens = one.tokens;
  if (one.objective === "max-sum") wish.sharpness = one.sharpness;
  return new URLSearchParams(wish).toString();
}

/** Return an answer; what is refused is told in one line. */
async function get(path, query = "") {
  let answer;
  try {
    answer = await fetch(query ? `${path}?${query}` : path);
  } catch {
    throw new Error("setwise explore does not answer; is it still running?");
  }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.message ?? `refused with ${answer.status}`);
  return told;
}

// ------------------------------------------------------------------ moves

/** Ask for the picture of the state; while one is on its way, only the last move is asked for after it. */
async function move(began = performance.now()) {
  show(state);
  keep();
  if (!state.query && !state.like) return;
  moves += 1;
  clearTimeout(pause);
  if (busy) {
    waiting = began;
    return;
  }
  busy = true;
  const mine = { ...state };
  try {
    const [found] = await Promise.all([get("/api/select", asked(mine)), fetchMap(mine)]);
    reasons = {};
    render(found, mine);
    requestAnimationFrame(() => setTimeout(() => {
      const spent = performance.now() - began;
      document.documentElement.dataset.latency = spent.toFixed(1);
      at("timing").textContent = `picture after ${spent.toFixed(0)} ms, of which ${(1000 * found.seconds).toFixed(0)} ms to select`;
    }));
    complain("");
  } catch (error) {
    complain(error.message);
  } finally {
    busy = false;
  }
  if (waiting !== null) {
    const next = waiting;
    waiting = null;
    move(next);
  } else if (!at("lists").hidden) {
    const number = moves;
    pause = setTimeout(() => complete(mine, number), PAUSE);
  }
}

/** Ask for the map where the query is another one. */
async function fetchMap(one) {
  const key = keyOf(one);
  if (key === candidatesOf) return;
  candidates = await get("/api/map", asked(one));
  candidatesOf = key;
}

/** Ask for the neighborhoods of a query that has none yet; nothing waits for them. */
async function fetchNeighborhoods(one) {
  const key = keyOf(one);
  if (key === neighborhoodsOf || state.layout !== "near") return;
  const before = neighborhoodsOf;
  neighborhoodsOf = key;
  try {
    const found = await get("/api/neighborhoods", asked(one));
    if (key !== neighborhoodsOf) return;
    neighborhoods = { key, missing: found.missing, places: found.places,
      at: new Map(found.rows.map((row, place) => [row, found.places[place]])) };
    redraw(state);
  } catch (error) {
    if (key === neighborhoodsOf) neighborhoodsOf = before;
    complain(error.message);
  }
}

/** Return what tells one frontier from another. */
function curveOf(one) {
  return JSON.stringify({ ...one, diversity: 0, layout: "" });
}

/** Return what tells one query from another. */
function keyOf(one) {
  return JSON.stringify([one.query, one.like]);
}

/** Ask for what takes longer, unless there was another move meanwhile: the frontier, the proof, the reasons. */
async function complete(mine, number) {
  const current = () => number === moves;
  fetchNeighborhoods(mine);
  const proven = picture.certificate !== null && picture.certificate.pool_sufficient;
  const thorough = proven ? {} : { thorough: true };
  try {
    if (!proven) {
      at("looked").textContent = "looking at more candidates …";
      const found = await get("/api/select", asked(mine, thorough));
      if (!current()) return;
      render(found, mine);
    }
    const { reasons: told } = await get("/api/reasons", asked(mine, thorough));
    if (!current()) return;
    reasons = told;
    tellReasons();
    const key = curveOf(mine);
    if (key !== frontierOf) {
      const found = await get("/api/frontier", asked(mine));
      if (!current()) return;
      frontier = found;
      frontierOf = key;
      redraw(mine);
    }
    document.documentElement.dataset.complete = String(number);
  } catch (error) {
    if (current()) complain(error.message);
  }
}

// ------------------------------------------------------------------ what is shown

/** Show a picture. */
function render(found, mine) {
  picture = found;
  for (const id of ["proof", "pictures", "lists", "exports"]) at(id).hidden = false;
  at("proven").textContent = found.proven ?? "nothing proven yet";
  at("looked").textContent = found.looked ?? "";
  at("value").textContent = found.value.toFixed(4);
  at("term-relevance").textContent = `${found.relevance.toFixed(4)} (top-k: ${found.ranked_relevance.toFixed(4)})`;
  at("term-diversity").textContent = `${found.diversity.toFixed(4)} (top-k: ${found.ranked_diversity.toFixed(4)})`;
  const came = found.set.filter((item) => !item.shared).length;
  at("swapped").textContent = `${came} of ${found.set.length}`;
  const size = mine.unit === "k" ? `${found.set.length} passages` : `${found.set.length} passages, ${found.tokens} tokens`;
  at("set-title").textContent = `The set: ${size}`;
  at("ranked-title").textContent = `The most relevant: ${found.ranked.length} passages`;
  at("set").replaceChildren(...found.set.map((item, place) => passage(item, place, found, true)));
  at("ranked").replaceChildren(...found.ranked.map((item, place) => passage(item, place, found, false)));
  at("said").textContent = `Set of ${size}, ${came} swapped. ${found.proven ?? ""}`;
  tellReasons();
  redraw(mine);
}

/** Draw the pictures of what is known. */
function redraw(mine) {
  if (!picture || !candidates) return;
  drawNearness();
  const known = frontierOf === curveOf(mine) ? frontier : null;
  drawFrontier(at("frontier"), known, picture, `diversity of ${mine.objective}`);
}

/** Draw the map: neighborhoods where they are wished for and known, else the principal axes. */
function drawNearness() {
  const parts = candidates.share.map((part) => `${Math.round(100 * part)} %`).join(" and ");
  const axes = `two axes with ${parts} of the variance`;
  const near = state.layout === "near" && neighborhoods?.key === candidatesOf ? neighborhoods : null;
  const shown = near && !near.missing;
  const follow = near?.missing ?? (state.layout === "near" ? "neighborhoods follow" : "");
  at("share").textContent = shown ? "(t-SNE: what is alike lies together)" : `(${[axes, follow].filter(Boolean).join("; ")})`;
  at("map").dataset.layout = shown ? "near" : "axes";
  if (shown) drawMap(at("map"), near.places, (item) => near.at.get(item.candidate) ?? item.place, picture);
  else drawMap(at("map"), candidates.places, (item) => item.place, picture);
}

/** Return an element with text. */
function made(name, kind, text) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Return a passage of a list. */
function passage(item, place, found, chosen) {
  const swapped = item.shared ? "" : chosen ? "in" : "out";
  const entry = made("li", `passage ${swapped}`);
  entry.dataset.row = item.row;
  const head = made("header");
  const id = made("bdi", "id", `${place + 1}. ${item.id}`);
  const badge = made("span", "badge", { in: "▲ came in", out: "○ went out", "": "" }[swapped]);
  const novelty = item.novelty === null ? "" : ` · novelty ${item.novelty.toFixed(2)}`;
  head.append(id, badge, made("span", "figures", `relevance ${item.relevance.toFixed(3)}${novelty}`));
  entry.append(head);
  if (item.text) {
    const text = made("p", "text", item.text + (item.cut ? " …" : ""));
    text.dir = "auto";
    entry.append(text);
  }
  entry.append(made("p", "why", reason(item, place, found, chosen)));
  const doing = made("div", "doing");
  if (item.text.length > 200) {
    const more = made("button", "", "whole text");
    more.type = "button";
    more.setAttribute("aria-expanded", "false");
    more.addEventListener("click", () => {
      const whole = entry.querySelector(".text").classList.toggle("whole");
      more.setAttribute("aria-expanded", String(whole));
      more.textContent = whole ? "less" : "whole text";
    });
    doing.append(more);
  }
  const like = made("button", "", "more like this");
  like.type = "button";
  like.setAttribute("aria-label", `More like ${item.id}`);
  like.addEventListener("click", () => {
    state = { ...state, query: "", like: item.id };
    move();
  });
  doing.append(like);
  entry.append(doing);
  entry.addEventListener("pointerenter", () => point(at("map"), entry.dataset.row));
  entry.addEventListener("pointerleave", () => point(at("map"), null));
  entry.addEventListener("focusin", () => point(at("map"), entry.dataset.row));
  entry.addEventListener("focusout", () => point(at("map"), null));
  return entry;
}

/** Return an id without characters that would turn the direction of the words around it. */
function plain(id) {
  return id.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "");
}

/** Return why a passage is in the set or is not, as far as it is known at once. */
function reason(item, place, found, chosen) {
  const near = item.nearest === null ? null : plain(found.set[item.nearest].id);
  const likeness = near === null ? "" : `${chosen || item.similarity < 0.9 ? "most like" : "repeats"} ${near} (similarity ${item.similarity.toFixed(2)})`;
  const pair = found.instead.find(([came, left]) => (chosen ? came : left) === place);
  if (item.shared || !pair) return likeness;
  const other = chosen ? `came for ${plain(found.ranked[pair[1]].id)}` : `${plain(found.set[pair[0]].id)} came instead`;
  return likeness ? `${likeness}; ${other}` : other;
}

/** Add what sets are worth without a passage, or with it, where it is known. */
function tellReasons() {
  for (const [list, items, chosen] of [["set", picture.set, true], ["ranked", picture.ranked, false]]) {
    const entries = at(list).children;
    items.forEach((item, place) => {
      const told = reasons[item.row];
      if (!told) return;
      const swap = reason({ ...item, nearest: null }, place, picture, chosen);
      entries[place].querySelector(".why").textContent = [...told.words, ...(swap ? [swap] : [])].join("; ");
    });
  }
}

/** Show what is refused, or nothing. */
function complain(message) {
  at("problem").textContent = message;
  at("problem").hidden = !message;
}

/** Show a state in the controls. */
function show(one) {
  at("query").value = one.query || (one.like && (about?.encoder ? `like: ${one.like}` : one.like));
  at("diversity").value = one.diversity;
  at("diversity-value").textContent = one.diversity.toFixed(2);
  at("sharpness").value = SHARPNESS.indexOf(one.sharpness);
  at("sharpness-value").textContent = String(one.sharpness);
  at("sharpness").setAttribute("aria-valuetext", String(one.sharpness));
  at("sharpness").disabled = one.objective !== "max-sum" || about?.metric !== "cosine";
  const k = one.unit === "k";
  const size = at("size");
  [size.min, size.max, size.step] = k ? [1, Math.min(50, about?.candidates ?? 50), 1] : [50, 4000, 50];
  size.value = k ? one.k : one.tokens;
  at("size-value").textContent = k ? `${one.k} passages` : `${one.tokens} tokens`;
  size.setAttribute("aria-valuetext", at("size-value").textContent);
  document.querySelector(`input[name=unit][value=${k ? "k" : "tokens"}]`).checked = true;
  document.querySelector(`input[name=layout][value=${one.layout}]`).checked = true;
  at("objective").value = one.objective;
  at("objective-help").textContent = about ? `Weighs ${about.objectives[one.objective]} against relevance.` : "";
}

// ------------------------------------------------------------------ links and beginnings

/** Keep the state in the address, and what the links take away. */
function keep() {
  const wish = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== ""));
  history.replaceState(null, "", `#${wish}`);
  if (!state.query && !state.like) return;
  at("csv").href = `/export/set.csv?${asked(state)}`;
  at("json").href = `/export/set.json?${asked(state)}`;
}

/** Take the state from the address; what is no state of ours is left out. */
function restore() {
  const wish = new URLSearchParams(location.hash.slice(1));
  const number = (name, low, high) => {
    const value = Number(wish.get(name));
    return wish.has(name) && value >= low && value <= high ? { [name]: value } : {};
  };
  state = {
    ...state,
    ...(wish.has("query") ? { query: wish.get("query").slice(0, 4000), like: "" } : {}),
    ...(wish.has("like") ? { like: wish.get("like").slice(0, 1000), query: "" } : {}),
    ...(["k", "tokens"].includes(wish.get("unit")) ? { unit: wish.get("unit") } : {}),
    ...(["near", "axes"].includes(wish.get("layout")) ? { layout: wish.get("layout") } : {}),
    ...(wish.get("objective") in about.objectives ? { objective: wish.get("objective") } : {}),
    ...(SHARPNESS.includes(Number(wish.get("sharpness"))) ? number("sharpness", 1, 32) : {}),
    ...number("diversity", 0, 1), ...number("k", 1, 50), ...number("tokens", 50, 4000),
  };
  state.k = Math.round(Math.min(state.k, about.candidates));
  state.tokens = Math.round(state.tokens);
  if (about.metric !== "cosine") state.sharpness = 1;
  if (!about.texts) state.unit = "k";
}

/** Take a move of a control. */
function changed(event) {
  const began = event.timeStamp || performance.now();
  const unit = document.querySelector("input[name=unit]:checked").value;
  const size = Number(at("size").value);
  const same = unit === state.unit;
  state = {
    ...state, unit,
    diversity: Number(at("diversity").value),
    sharpness: SHARPNESS[Number(at("sharpness").value)],
    objective: at("objective").value,
    ...(same ? { [unit]: size } : {}),
  };
  move(began);
}

/** Take a query: words, or the id of a passage. */
function searched(event) {
  event.preventDefault();
  const typed = at("query").value.trim();
  const id = typed.startsWith("like: ") ? typed.slice(6) : about.encoder ? "" : typed;
  state = { ...state, query: id ? "" : typed, like: id };
  if (!typed) complain("query: say what to look for");
  move();
}

/** Begin. */
async function begin() {
  try {
    about = await get("/api/about");
  } catch (error) {
    complain(error.message);
    return;
  }
  document.title = `${about.name} · setwise explore`;
  const encoder = about.encoder ? `queries by ${about.encoder}` : "queries by the id of a passage";
  at("about").textContent = `${about.name}: ${about.candidates.toLocaleString("en")} passages of ${about.width} dimensions, ${encoder}`;
  if (!about.encoder) at("query-label").textContent = "Find what is like a passage: its id";
  at("query").placeholder = about.encoder ? "words, or like: and the id of a passage" : about.example;
  at("objective").replaceChildren(...Object.keys(about.objectives).map((name) => new Option(name, name)));
  document.querySelector("input[name=unit][value=tokens]").disabled = !about.texts;
  state.sharpness = about.sharpness;
  restore();
  at("ask").addEventListener("submit", searched);
  for (const id of ["diversity", "sharpness", "size", "objective"]) at(id).addEventListener("input", changed);
  for (const unit of document.querySelectorAll("input[name=unit]")) unit.addEventListener("change", changed);
  for (const layout of document.querySelectorAll("input[name=layout]")) {
    layout.addEventListener("change", () => {
      state = { ...state, layout: layout.value };
      keep();
      redraw(state);
      fetchNeighborhoods(state);
    });
  }
  window.addEventListener("hashchange", () => { restore(); move(); });
  at("link").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      at("link").textContent = "Copied";
    } catch {
      at("link").textContent = "The address above is the link";
    }
    setTimeout(() => { at("link").textContent = "Copy a link to this picture"; }, 2000);
  });
  await move();
  if (!state.query && !state.like) at("query").focus();
}

begin();
