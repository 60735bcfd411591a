"use strict";
// What is shown is a function of `state`, and `state` stands in the address, so that a view can be kept or sent on.
const { images, classes } = JSON.parse(document.getElementById("data").textContent);
const PER_PAGE = 60;
const BINS = 20;
const WIDTH = 6; // numbers a detection: class, score, x1, y1, x2, y2
const by = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const START = { low: 0, high: 1, name: "", show: "any", order: "name", off: [], page: 0 };
let state = { ...START };
let fitting = []; // numbers of the images that fit
let opened = 0; // position in `fitting` of the image in the dialog

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = { ...START, off: [] };
  for (const key of ["low", "high", "page"]) if (given.has(key)) state[key] = Number(given.get(key)) || 0;
  for (const key of ["name", "show", "order"]) if (given.has(key)) state[key] = given.get(key);
  if (given.has("off")) state.off = given.get("off").split(",").map(Number);
  if (given.has("class")) {
    const wanted = given.get("class").split(",");
    state.off = classes.map((_, c) => c).filter((c) => !wanted.includes(classes[c][0]));
  }
}

function writeAddress() {
  const told = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (String(value) !== String(START[key])) told.set(key, String(value));
  }
  history.replaceState(null, "", "#" + told);
}

function change(what) {
  state = { ...state, page: 0, ...what };
  writeAddress();
  show();
}

// Positions in an image's flat list of the detections that fit.
function kept(image, off) {
  const found = image[4];
  const positions = [];
  for (let i = 0; i < found.length; i += WIDTH) {
    if (!off.has(found[i]) && found[i + 1] >= state.low && found[i + 1] <= state.high) positions.push(i);
  }
  return positions;
}

// One pass over everything: which images fit, and what the charts show.
function survey() {
  const off = new Set(state.off);
  const part = state.name.toLowerCase();
  const perClass = new Array(classes.length).fill(0);
  const perScore = new Array(BINS).fill(0);
  const rank = new Map();
  let detections = 0;
  fitting = [];
  images.forEach((image, number) => {
    if (part && !image[0].toLowerCase().includes(part)) return;
    const found = image[4];
    for (let i = 0; i < found.length; i += WIDTH) {
      const inside = found[i + 1] >= state.low && found[i + 1] <= state.high;
      if (inside) perClass[found[i]] += 1;
      if (!off.has(found[i])) perScore[Math.min(BINS - 1, Math.floor(found[i + 1] * BINS))] += 1;
    }
    const positions = kept(image, off);
    if (state.show === "any" ? !positions.length : state.show === "none" && positions.length) return;
    detections += positions.length;
    fitting.push(number);
    const weakest = positions.reduce((least, i) => Math.min(least, found[i + 1]), 2);
    rank.set(number, state.order === "weakest" ? weakest : -positions.length);
  });
  if (state.order !== "name") fitting.sort((a, b) => rank.get(a) - rank.get(b) || a - b);
  return { off, perClass, perScore, detections };
}

function drawHistogram(perScore) {
  const most = Math.max(1, ...perScore);
  const svg = by("histogram");
  svg.setAttribute("viewBox", "0 0 248 96");
  const bars = perScore.map((count, bin) => {
    const height = count ? Math.max(1, (74 * count) / most) : 0;
    const inside = (bin + 1) / BINS > state.low && bin / BINS <= state.high;
    const range = `${(bin / BINS).toFixed(2)} to ${((bin + 1) / BINS).toFixed(2)}: ${count}`;
    const bar = { x: 4 + bin * 12, y: 80 - height, width: 11, height, class: inside ? "in" : "out", "data-count": count };
    return make("rect", bar, make("title", {}, range));
  });
  const marks = [0, 0.25, 0.5, 0.75, 1].map((v) =>
    make("text", { x: 4 + v * 240, y: 92, "text-anchor": v === 0 ? "start" : v === 1 ? "end" : "middle" }, String(v)));
  const top = make("text", { x: 244, y: 8, "text-anchor": "end" }, `highest bar: ${most}`);
  svg.replaceChildren(make("line", { x1: 4, x2: 244, y1: 80.5, y2: 80.5 }), ...bars, ...marks, top);
}

function drawClasses(perClass, off) {
  const most = Math.max(1, ...perClass);
  const order = classes.map((_, c) => c).sort((a, b) => perClass[b] - perClass[a] || a - b);
  by("classes").replaceChildren(...order.map((c) => {
    const box = make("input", { type: "checkbox", value: c });
    box.checked = !off.has(c);
    box.addEventListener("change", () => {
      const now = new Set(state.off);
      if (box.checked) now.delete(c); else now.add(c);
      change({ off: [...now].sort((a, b) => a - b) });
    });
    const bar = make("i", { style: `width:${(100 * perClass[c]) / most}%;background:${classes[c][1]}` });
    return make("li", {}, make("label", {}, box, make("b", {}, classes[c][0]), make("span", {}, String(perClass[c])), bar));
  }));
  by("every").textContent = off.size ? "all" : "none";
}

function picture(image, positions, lazy) {
  const [name, thumbnail, width, height, found] = image;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const i of positions) {
    const [c, score, x1, y1, x2, y2] = found.slice(i, i + WIDTH);
    const tip = make("title", {}, `${classes[c][0]} ${score.toFixed(2)}`);
    svg.append(make("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, stroke: classes[c][1] }, tip));
  }
  const img = make("img", { src: thumbnail, alt: name, loading: lazy ? "lazy" : "eager", decoding: "async" });
  return make("span", { class: "picture" }, img, svg);
}

function drawGrid(off) {
  const first = state.page * PER_PAGE;
  by("grid").replaceChildren(...fitting.slice(first, first + PER_PAGE).map((number, i) => {
    const image = images[number];
    const positions = kept(image, off);
    const labels = new Map();
    for (const p of positions) labels.set(image[4][p], (labels.get(image[4][p]) || 0) + 1);
    const told = [...labels].map(([c, n]) => (n > 1 ? `${n} × ` : "") + classes[c][0]).join(", ") || "nothing found";
    const caption = make("span", { class: "caption" }, make("b", { title: image[0] }, image[0]), make("small", {}, told));
    const card = make("button", { type: "button" }, picture(image, positions, true), caption);
    card.addEventListener("click", () => open(first + i));
    return make("li", {}, card);
  }));
  const pages = Math.max(1, Math.ceil(fitting.length / PER_PAGE));
  by("page").textContent = `page ${state.page + 1} of ${pages}`;
  by("previous").disabled = state.page === 0;
  by("next").disabled = state.page >= pages - 1;
  by("nothing").hidden = fitting.length > 0;
}

function open(position) {
  if (position < 0 || position >= fitting.length) return;
  opened = position;
  const image = images[fitting[position]];
  const positions = kept(image, new Set(state.off));
  by("stage").replaceChildren(picture(image, positions, false));
  by("title").textContent = `${image[0]} (${image[2]}×${image[3]})`;
  const rects = by("stage").querySelectorAll("rect");
  by("boxes").replaceChildren(...positions.map((i, n) => {
    const [label, colour] = classes[image[4][i]];
    const dot = make("span", { class: "dot", style: `background:${colour}` });
    const row = make("tr", {}, make("td", {}, dot, label), make("td", {}, image[4][i + 1].toFixed(3)));
    for (const event of ["mouseenter", "mouseleave"]) row.addEventListener(event, () => rects[n].classList.toggle("lit"));
    return row;
  }));
  if (!by("large").open) by("large").showModal();
}

function show() {
  const { off, perClass, perScore, detections } = survey();
  state.page = Math.min(Math.max(0, state.page), Math.max(0, Math.ceil(fitting.length / PER_PAGE) - 1));
  by("low").value = Math.round(state.low * 100);
  by("high").value = Math.round(state.high * 100);
  by("range").textContent = `${state.low.toFixed(2)} to ${state.high.toFixed(2)}`;
  for (const key of ["name", "show", "order"]) if (by(key).value !== state[key]) by(key).value = state[key];
  const n = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
  by("summary").textContent = `${n(fitting.length, "image")} of ${images.length.toLocaleString("en")}, ${n(detections, "detection")}`;
  drawHistogram(perScore);
  drawClasses(perClass, off);
  drawGrid(off);
}

by("low").addEventListener("input", (e) => change({ low: e.target.value / 100, high: Math.max(state.high, e.target.value / 100) }));
by("high").addEventListener("input", (e) => change({ high: e.target.value / 100, low: Math.min(state.low, e.target.value / 100) }));
for (const key of ["name", "show", "order"]) by(key).addEventListener("input", (e) => change({ [key]: e.target.value }));
by("every").addEventListener("click", () => change({ off: state.off.length ? [] : classes.map((_, c) => c) }));
for (const [id, step] of [["previous", -1], ["next", 1]]) {
  by(id).addEventListener("click", () => { change({ page: state.page + step }); scrollTo(0, 0); });
}
by("back").addEventListener("click", () => open(opened - 1));
by("forth").addEventListener("click", () => open(opened + 1));
by("close").addEventListener("click", () => by("large").close());
by("large").addEventListener("keydown", (e) => {
  if (e.key === "ArrowLeft") open(opened - 1);
  if (e.key === "ArrowRight") open(opened + 1);
});
addEventListener("hashchange", () => { readAddress(); show(); });
readAddress();
show();
