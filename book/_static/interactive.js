// Draws the figures that lost_in_attention.interactive writes: native sliders, which the keyboard
// moves, choose one of the precomputed frames, and Plotly draws it.
(() => {
  const base = document.currentScript.src;

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
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

    function show() {
      let index = 0;
      for (const { range, positions, shown } of controls) {
        const position = Number(range.value);
        index = index * positions.length + position;
        shown.textContent = positions[position];
        range.setAttribute("aria-valuetext", positions[position]);
      }
      const frame = content.frames[index];
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
    show();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const figures = document.querySelectorAll("figure.interactive");
    if (!figures.length) return;
    const script = element("script", { src: new URL("plotly.min.js", base) });
    script.addEventListener("load", () => figures.forEach(start));
    document.head.append(script);
  });
})();
