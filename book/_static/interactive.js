// Draws the figures that lost_in_attention.interactive writes: native sliders, which the keyboard
// moves, choose one of the precomputed frames, and Plotly draws it.  The frames of a graph are made
// here, from its edges.
(() => {
  const base = document.currentScript.src;

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // A line from point to point for each pair; Plotly breaks lines at null.
  function lines(pairs, color, width) {
    const x = pairs.flatMap(([from, to]) => [from[0], to[0], null]);
    const y = pairs.flatMap(([from, to]) => [from[1], to[1], null]);
    return { x, y, mode: "lines", line: { color, width }, hoverinfo: "skip" };
  }

  function marks(points, marker) {
    const [x, y] = [0, 1].map((axis) => points.map((point) => point[axis]));
    return { x, y, mode: "markers", marker, hoverinfo: "none" };
  }

  const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

  const IN = "#56B4E9";
  const OUT = "#CC79A7";
  const KEY = "#E69F00";

  // The edges of a layer from a threshold on; of one patch, where one is chosen (0 means all).
  function graphFrame({ centres, key, outline, layers, thresholds }, [layer, threshold, patch]) {
    const { source, target, weight } = layers[layer];
    const edges = source
      .map((from, i) => ({ from, to: target[i], weight: weight[i] }))
      .filter((edge) => edge.weight >= thresholds[threshold]);
    const self = edges.filter(({ from, to }) => from === to);
    const between = edges.filter(({ from, to }) => from !== to);
    const inKey = new Set(key);
    const keyed = edges.filter(({ from, to }) => inKey.has(from) || inKey.has(to)).length;

    const chosen = patch - 1;
    const ofPatch = (end) => (edge) => patch === 0 || edge[end] === chosen;
    const reads = between.filter(ofPatch("to"));
    // Without a chosen patch `reads` has every edge already.
    const read = patch === 0 ? [] : between.filter(ofPatch("from"));
    const shown = self.filter(ofPatch("to"));
    const pairs = (some) => some.map(({ from, to }) => [centres[from], centres[to]]);
    const data = [
      lines(pairs(reads), IN, 1.6),
      lines(pairs(read), OUT, 1.6),
      lines(outline, KEY, 2.5),
      marks(shown.map(({ to }) => centres[to]), { symbol: "circle-open", size: 10, color: IN }),
      // The last trace is what the pointer finds.
      marks(centres, {
        size: centres.map((_, i) => (i === chosen ? 9 : 5)),
        color: centres.map((_, i) => (i === chosen ? KEY : "#999999")),
      }),
    ];
    const whole =
      `Layer ${layer}, threshold ${thresholds[threshold]}: ` +
      `${count(between.length, "edge", "edges")} between patches and ` +
      `${count(self.length, "self-edge", "self-edges")}. Of these ${edges.length}, ${keyed} ` +
      `with an end in the key region of ${count(key.length, "patch", "patches")}.`;
    const own =
      ` Patch ${chosen} attends to ${count(reads.length, "earlier patch", "earlier patches")} ` +
      `(blue)${shown.length ? " and to itself" : ""}; it is attended to by ` +
      `${count(read.length, "later patch", "later patches")} (pink).`;
    return { name: patch === 0 ? whole : whole + own, data };
  }

  function start(figure) {
    const image = figure.querySelector("img");
    const content = JSON.parse(figure.querySelector("script").textContent);
    const plot = element("div", { class: "plot", role: "img", "aria-label": image.alt });
    const readout = element("output", { class: "readout", "aria-live": "polite" });
    const controls = content.sliders.map((slider) => {
      const last = slider.positions.length - 1;
      const range = element("input", { type: "range", min: 0, max: last, value: slider.start });
      return { range, positions: slider.positions, label: slider.label, shown: element("b", {}) };
    });

    function chosenFrame(places) {
      if (content.graph) return graphFrame(content.graph, places);
      const index = places.reduce((sum, at, i) => sum * controls[i].positions.length + at, 0);
      return content.frames[index];
    }

    function show() {
      const places = controls.map(({ range }) => Number(range.value));
      for (const [i, { range, positions, shown }] of controls.entries()) {
        const position = places[i];
        shown.textContent = positions[position];
        range.setAttribute("aria-valuetext", positions[position]);
      }
      const frame = chosenFrame(places);
      const layout = { ...content.layout, ...frame.layout, autosize: true };
      readout.textContent = frame.name;
      return Plotly.react(plot, frame.data, layout, { displayModeBar: false, responsive: true });
    }

    const caption = figure.querySelector("figcaption");
    const rows = controls.map(({ range, label, shown }) => {
      range.addEventListener("input", show);
      return element("label", {}, element("span", {}, `${label}: `, shown), range);
    });
    image.hidden = true;
    caption.before(plot, element("div", { class: "sliders" }, ...rows), readout);
    show().then(() => {
      if (content.graph) plot.on("plotly_hover", ({ points: [point] }) => point && focus(point));
    });

    // Pointing at a patch moves the last slider, so that keyboard and pointer do the same.
    function focus({ pointNumber }) {
      const { range } = controls.at(-1);
      if (Number(range.value) === pointNumber + 1) return;
      range.value = pointNumber + 1;
      show();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const figures = document.querySelectorAll("figure.interactive");
    if (!figures.length) return;
    const script = element("script", { src: new URL("plotly.min.js", base) });
    script.addEventListener("load", () => figures.forEach(start));
    document.head.append(script);
  });
})();
