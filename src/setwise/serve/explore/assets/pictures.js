// The map and the frontier, as SVG. Text goes into them as text alone.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 420, HIGH = 320, EDGE = 14;

/** Return an element of SVG. */
function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Return what maps numbers to a span of pixels; a range of nothing lies in its middle. */
function scale(values, from, to) {
  const low = Math.min(...values), high = Math.max(...values);
  const wide = high - low || 1, off = high === low ? 0.5 : 0;
  return (value) => from + ((value - low) / wide + off) * (to - from);
}

/** Return a mark of a member or of one that went out, with its name as a hint. */
function mark(item, kind, x, y) {
  const shape = kind === "came"
    ? drawn("path", { d: `M${x} ${y - 7}l7 12h-14Z`, class: kind })
    : drawn("circle", { cx: x, cy: y, r: 6, class: kind });
  shape.dataset.row = item.row;
  shape.append(drawn("title", {}, item.id));
  return shape;
}

/**
 * Draw where the candidates lie, the set and the most relevant among them, and ways to what came instead.
 * @param {SVGElement} panel
 * @param {number[][]} candidates places
 * @param {(item: object) => number[]} of where a passage lies
 * @param {object} picture what /api/select answers
 */
export function drawMap(panel, candidates, of, picture) {
  const gone = picture.ranked.filter((item) => !item.shared);
  const all = [...candidates, ...picture.set.map(of), ...gone.map(of)];
  const x = scale(all.map((place) => place[0]), EDGE, WIDE - EDGE);
  const y = scale(all.map((place) => place[1]), HIGH - EDGE, EDGE);
  const parts = candidates.map((place) =>
    drawn("circle", { cx: x(place[0]).toFixed(1), cy: y(place[1]).toFixed(1), r: 2, class: "candidate" }));
  for (const [came, left] of picture.instead) {
    const from = of(picture.ranked[left]), to = of(picture.set[came]);
    const [x1, y1, x2, y2] = [x(from[0]), y(from[1]), x(to[0]), y(to[1])];
    const long = Math.hypot(x2 - x1, y2 - y1);
    if (long < 16) continue;
    const [dx, dy] = [(x2 - x1) / long, (y2 - y1) / long];
    const [ex, ey] = [x2 - 8 * dx, y2 - 8 * dy];
    parts.push(drawn("line", { x1: x1 + 7 * dx, y1: y1 + 7 * dy, x2: ex, y2: ey, class: "way" }));
    parts.push(drawn("path", {
      d: `M${ex} ${ey}l${-7 * dx - 3.5 * dy} ${-7 * dy + 3.5 * dx}l${7 * dy} ${-7 * dx}Z`, class: "tip",
    }));
  }
  for (const item of gone) parts.push(mark(item, "gone", x(of(item)[0]), y(of(item)[1])));
  for (const item of picture.set) {
    parts.push(mark(item, item.shared ? "both" : "came", x(of(item)[0]), y(of(item)[1])));
  }
  panel.replaceChildren(...parts);
  panel.setAttribute("aria-label", `Map of ${candidates.length} candidates: ${picture.set.length} in the `
    + `set, ${picture.instead.length} of them in place of more relevant ones`);
}

/**
 * Draw the two terms of the sets of every diversity, and where this one is.
 * @param {SVGElement} panel
 * @param {{diversities: number[], relevance: number[], spread: number[]} | null} told
 * @param {object} picture
 * @param {string} name of the second term
 */
export function drawFrontier(panel, told, picture, name) {
  const spread = [...(told?.spread ?? []), picture.diversity, picture.ranked_diversity];
  const relevance = [...(told?.relevance ?? []), picture.relevance, picture.ranked_relevance];
  const x = scale(spread, 52, WIDE - EDGE), y = scale(relevance, HIGH - 42, EDGE);
  const [left, right, top, bottom] = [Math.min(...spread), Math.max(...spread), Math.max(...relevance), Math.min(...relevance)];
  const parts = [
    drawn("line", { x1: 44, y1: HIGH - 34, x2: WIDE - 6, y2: HIGH - 34, class: "grid" }),
    drawn("line", { x1: 44, y1: 6, x2: 44, y2: HIGH - 34, class: "grid" }),
    drawn("text", { x: 46, y: HIGH - 18 }, left.toFixed(3)),
    drawn("text", { x: WIDE - 6, y: HIGH - 18, "text-anchor": "end" }, right.toFixed(3)),
    drawn("text", { x: (WIDE + 44) / 2, y: HIGH - 4, "text-anchor": "middle" }, name),
    drawn("text", { x: 40, y: 16, "text-anchor": "end" }, top.toFixed(3)),
    drawn("text", { x: 40, y: HIGH - 40, "text-anchor": "end" }, bottom.toFixed(3)),
    drawn("text", { transform: `rotate(-90 12 ${HIGH / 2})`, x: 12, y: HIGH / 2, "text-anchor": "middle" }, "relevance"),
  ];
  if (told) {
    const points = told.spread.map((value, place) => `${x(value).toFixed(1)},${y(told.relevance[place]).toFixed(1)}`);
    parts.push(drawn("polyline", { points: points.join(" "), class: "curve" }));
    told.diversities.forEach((diversity, place) => {
      const dot = drawn("circle", { cx: x(told.spread[place]), cy: y(told.relevance[place]), r: 3, class: "both" });
      dot.append(drawn("title", {}, `diversity ${diversity}`));
      parts.push(dot);
    });
  }
  parts.push(drawn("circle", { cx: x(picture.ranked_diversity), cy: y(picture.ranked_relevance), r: 6, class: "gone" }));
  const [hx, hy] = [x(picture.diversity), y(picture.relevance)];
  parts.push(drawn("path", { d: `M${hx} ${hy - 8}l8 14h-16Z`, class: "came" }));
  const end = hx > 120, high = hy < HIGH - 70; // the curve falls to the right: below a point on it there is room
  parts.push(drawn("text", { x: end ? hx - 4 : hx, y: high ? hy + 24 : hy - 12, "text-anchor": end ? "end" : "start",
    class: "strong" }, "this set"));
  panel.replaceChildren(...parts);
  panel.setAttribute("aria-label", `Frontier: this set has relevance ${picture.relevance.toFixed(3)} and `
    + `diversity ${picture.diversity.toFixed(3)}, the most relevant ${picture.ranked_relevance.toFixed(3)} and `
    + `${picture.ranked_diversity.toFixed(3)}`);
}

/** Mark the points of a row, or of none. */
export function point(panel, row) {
  for (const shape of panel.querySelectorAll("[data-row]")) {
    shape.classList.toggle("marked", shape.dataset.row === row);
  }
}
