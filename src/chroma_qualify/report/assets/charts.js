// The charts of report.html, on uPlot: one time axis for all of them, faults as bands behind, zoom and cursor in step.
// Runs after the page is there; whatever it needs is in the JSON of #data. Without it the tables hold the same.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const byDo = name => document.querySelector(`[data-do="${name}"]`);
  const clock = s => {
    s = Math.max(0, Math.round(s));
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60, two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
  };
  const digits = v => Math.abs(v) >= 100 || Number.isInteger(v) ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3));
  const bytes = v => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (Math.abs(v) >= 1024 && at < 4) { v /= 1024; at++; }
    return `${+v.toPrecision(3)} ${units[at]}`;
  };
  const written = (v, unit) => v == null ? "\u2013" : unit === "bytes" ? bytes(v) : digits(v);

  // Colours come from the style sheet; a canvas must be told them.
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const color = name => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };

  let printing = false, range = [0, data.seconds], log = false, plots = [], moving = false;
  const font = () => `${printing ? 10 : 12}px ${getComputedStyle(document.body).fontFamily}`;
  const stateColor = state => color({proven: "fail", unproven: "fail"}[state] || (["pass", "fail", "infra", "accepted", "note", "not-run"].includes(state) ? state : "unknown"));

  const hatch = (ctx, x, y, w, h, step) => {
    ctx.save();
    ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip(); ctx.beginPath();
    for (let at = x - h; at < x + w; at += step) { ctx.moveTo(at, y + h); ctx.lineTo(at + h, y); }
    ctx.stroke();
    ctx.restore();
  };

  // Faults behind every chart: a tint with an edge where it is proven, only hatched where it is not.
  const bands = () => ({hooks: {drawClear: u => {
    const {ctx, bbox} = u, edge = color("band-edge"), tint = color("band"), dpr = devicePixelRatio;
    ctx.save();
    for (const band of data.bands) {
      if (band.kind !== "fault") continue;
      const from = Math.max(u.valToPos(band.begin, "x", true), bbox.left);
      const to = Math.min(Math.max(u.valToPos(band.end, "x", true), from + dpr), bbox.left + bbox.width);
      if (to <= bbox.left || from >= bbox.left + bbox.width) continue;
      ctx.strokeStyle = edge; ctx.lineWidth = dpr;
      if (band.state === "proven") { ctx.fillStyle = tint; ctx.fillRect(from, bbox.top, to - from, bbox.height); }
      else { ctx.globalAlpha = .35; hatch(ctx, from, bbox.top, to - from, bbox.height, 7 * dpr); ctx.globalAlpha = 1; }
      ctx.setLineDash(band.state === "proven" ? [] : [3 * dpr, 3 * dpr]);
      ctx.globalAlpha = .55;
      ctx.beginPath(); ctx.moveTo(from, bbox.top); ctx.lineTo(from, bbox.top + bbox.height); ctx.stroke();
      ctx.globalAlpha = 1;
    }
    ctx.restore();
  }}});

  const margin = () => innerWidth < 480 && !printing ? 52 : 62;
  const LANE = 22;
  const after = band => data.bands.filter(each => each.lane === band.lane && each.begin > band.begin).map(each => each.begin).sort((a, b) => a - b)[0];
  const lanes = host => ({hooks: {
    draw: u => {
      const {ctx, bbox} = u, dpr = devicePixelRatio, edge = bbox.left + bbox.width;
      ctx.save();
      ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
      ctx.font = `${11 * dpr}px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textBaseline = "middle"; ctx.textAlign = "left"; ctx.lineWidth = dpr;
      for (const band of data.bands) {
        const from = u.valToPos(band.begin, "x", true), to = Math.max(u.valToPos(band.end, "x", true), from + 2 * dpr);
        if (to < bbox.left || from > edge) continue;
        const y = bbox.top + (band.lane * LANE + 2) * dpr, h = (LANE - 4) * dpr, fault = band.kind === "fault";
        const x = Math.max(from, bbox.left - 2), w = Math.min(to, edge + 2) - x, tone = stateColor(band.state);
        ctx.strokeStyle = tone; ctx.fillStyle = tone;
        ctx.setLineDash(band.state === "unproven" ? [3 * dpr, 2 * dpr] : []);
        ctx.globalAlpha = fault && band.state === "proven" ? .22 : fault ? 0 : .1; ctx.fillRect(x, y, w, h); ctx.globalAlpha = fault ? .9 : .45;
        ctx.strokeRect(x + .5, y + .5, Math.max(w - 1, 1), h - 1);
        ctx.globalAlpha = 1;
        const name = band.kind === "scenario" ? band.name.split("::").pop() : band.name;
        const word = band.state === "fail" && !fault ? `\u2715 ${name}` : name;
        // A name that is too long for its box stands behind it, where nothing else does.
        const inside = w - 8 * dpr, long = ctx.measureText(word).width, left = Math.max(x, bbox.left) + 5 * dpr;
        const free = after(band) == null ? edge : u.valToPos(after(band), "x", true);
        ctx.fillStyle = color("ink");
        if (long > inside && long < free - to - 8 * dpr) ctx.fillText(word, to + 4 * dpr, y + h / 2 + dpr * .5);
        else if (inside > 16 * dpr) {
          ctx.save(); ctx.beginPath(); ctx.rect(x, y, w - 3 * dpr, h); ctx.clip();
          ctx.fillText(word, left, y + h / 2 + dpr * .5);
          ctx.restore();
        }
      }
      ctx.restore();
    },
    setCursor: u => {
      const at = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null;
      const here = host.parentNode.querySelector("[data-here]");
      here.textContent = at == null ? "" : [clock(at), ...data.bands.filter(b => b.begin <= at && at <= b.end)
        .map(b => `${b.name} (${b.kind === "fault" ? "fault, " : ""}${b.state})`)].join(" \u00b7 ");
    },
  }});

  const axis = () => ({stroke: color("axis"), font: font(), grid: {stroke: color("grid"), width: 1}, ticks: {stroke: color("grid"), width: 1, size: 4}});
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const xAxis = show => ({...axis(), show, incrs: [.1, .2, .5, ...steps], space: 60, size: 28, values: (u, at) => at.map(clock)});

  const zoomed = u => {
    if (moving || u.scales.x.min == null) return;
    const [min, max] = [u.scales.x.min, u.scales.x.max];
    if (Math.abs(min - range[0]) > 1e-9 || Math.abs(max - range[1]) > 1e-9) show(min, max);
  };
  const base = (host, height) => ({
    width: printing ? 660 : Math.max(200, Math.floor(host.clientWidth)), height, padding: [8, 18, 0, 0],
    cursor: {sync: {key: "run"}, drag: {x: true, y: false, dist: 4}, y: false, points: {size: 6},
      // A double click shows the whole run, in all charts; uPlot's own would only know its data.
      bind: {dblclick: () => () => { show(0, data.seconds); return null; }}},
    hooks: {setScale: [(u, key) => key === "x" && zoomed(u)]},
    focus: {alpha: 1},
  });
  const scaleX = {time: false, min: range[0], max: range[1]};

  const drawLanes = host => {
    const rows = 1 + Math.max(0, ...data.bands.map(band => band.lane));
    const options = {...base(host, rows * LANE + 8 + 28),
      scales: {x: {...scaleX}, y: {range: [0, 1]}}, legend: {show: false},
      axes: [xAxis(true), {...axis(), size: margin(), values: () => [], ticks: {show: false}, grid: {show: false}}],
      series: [{}, {show: false}], plugins: [lanes(host)]};
    return new uPlot(options, [[0, data.seconds], [0, 0]], host);
  };

  const drawChart = (host, spec) => {
    const values = data.times, narrow = host.clientWidth < 480;
    const series = spec.lines.map(line => ({
      label: line.label, stroke: color(`c${(line.color - 1) % 7 + 1}`), width: 1.5, dash: line.dash, spanGaps: false,
      fill: line.fill ? color(`c${(line.color - 1) % 7 + 1}`).replace("rgb(", "rgba(").replace(")", ", .13)") : undefined,
      paths: line.stepped ? uPlot.paths.stepped({align: 1}) : undefined,
      value: (u, v) => written(v, spec.unit),
    }));
    // A lone point between gaps has no line; it must be seen all the same.
    const lone = (u, at) => u.data[at].flatMap((v, i, all) => v != null && all[i - 1] == null && all[i + 1] == null ? [i] : []);
    series.forEach(each => { each.points = {show: () => false, size: 4, fill: each.stroke, filter: lone}; });
    const y = spec.log && log
      ? {distr: 3, range: (u, min, max) => uPlot.rangeLog(Math.max(min || .1, .01), Math.max(max || 1, .1), 10, true)}
      : {range: (u, min, max) => [0, max > 0 ? max * 1.08 : 1]};
    const legend = host.parentNode.querySelector("[data-legend]");
    legend.replaceChildren();
    const options = {...base(host, printing ? 120 : narrow ? 150 : 170),
      scales: {x: {...scaleX}, y},
      legend: {show: true, live: true, mount: (u, el) => legend.append(el),
        markers: {width: 2, dash: (u, i) => { const dash = u.series[i].dash || []; return !dash.length ? "solid" : dash[0] < 4 ? "dotted" : "dashed"; }}},
      axes: [xAxis(true), {...axis(), size: margin(), space: 32, values: (u, at) => at.map(v => v == null ? "" : written(v, spec.unit)),
        incrs: spec.unit === "pods" ? [1, 2, 5, 10, 20, 50] : spec.unit === "bytes" ? Array.from({length: 40}, (_, i) => 2 ** i) : undefined}],
      series: [{label: "at", value: (u, v) => v == null ? "\u2013" : clock(v)}, ...series], plugins: [bands()]};
    return new uPlot(options, [values, ...spec.lines.map(line => line.data)], host);
  };

  const draw = () => {
    plots.forEach(plot => plot.destroy());
    plots = [];
    moving = true;
    for (const host of document.querySelectorAll("[data-lanes]")) plots.push(drawLanes(host));
    for (const host of document.querySelectorAll("[data-chart]")) plots.push(drawChart(host, data.charts.find(c => c.key === host.dataset.chart)));
    moving = false;
    show(...range);
  };

  const show = (from, to) => {
    const least = Math.min(1, data.seconds);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    if (from < 0) { to -= from; from = 0; }
    if (to > data.seconds) { from = Math.max(0, from - (to - data.seconds)); to = data.seconds; }
    range = [from, to];
    moving = true;
    for (const plot of plots) plot.setScale("x", {min: from, max: to});
    moving = false;
    const whole = from <= 0 && to >= data.seconds;
    const out = document.querySelector("[data-window]");
    if (out) out.textContent = whole ? `whole run, ${clock(data.seconds)}` : `${clock(from)} to ${clock(to)}`;
    root.dataset.range = `${from.toFixed(3)} ${to.toFixed(3)}`;
  };
  const zoom = by => { const [a, b] = range, middle = (a + b) / 2, half = (b - a) * by / 2; show(middle - half, middle + half); };
  const pan = by => { const [a, b] = range; show(a + (b - a) * by, b + (b - a) * by); };
  const does = {in: () => zoom(.5), out: () => zoom(2), earlier: () => pan(-.25), later: () => pan(.25), all: () => show(0, data.seconds)};

  const tools = document.querySelector(".tools");
  if (!tools || data.seconds <= 0) return;
  tools.hidden = false;
  for (const [name, act] of Object.entries(does)) byDo(name).addEventListener("click", act);
  const choice = byDo("band"), logarithmic = byDo("log");
  if (choice) choice.addEventListener("change", () => {
    const band = data.bands[+choice.value];
    if (choice.value === "" || !band) return show(0, data.seconds);
    const around = Math.max(2, (band.end - band.begin) * .5);
    show(band.begin - around, band.end + around);
  });
  if (logarithmic) logarithmic.addEventListener("change", () => { log = logarithmic.checked; draw(); });
  const keys = {ArrowLeft: "earlier", ArrowRight: "later", "+": "in", "=": "in", "-": "out", "0": "all", Escape: "all"};
  for (const host of document.querySelectorAll(".plot")) host.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    does[keys[event.key]]();
  });
  draw();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // On paper charts are pictures as wide as the paper, in light colours.
  addEventListener("printsize", () => { printing = true; draw(); });
  addEventListener("screensize", () => { printing = false; draw(); });
})();
