// The gallery's behaviour. Names are data: they reach the page as text only, never as HTML.
"use strict";

const facts = JSON.parse(document.getElementById("facts").textContent);
const { classes, photos } = facts;
const at = (id) => document.getElementById(id);

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// What is known of photos and classes

const names = new Intl.Collator("en", { numeric: true });
const share = (photo, k) => (photo.pixels?.[k] ?? 0) / (photo.total || 1);
const percent = (x) => (x > 0 && x < 0.001 ? "< 0.1%" : `${(100 * x).toFixed(1)}%`);
const rgb = (k) => `rgb(${classes[k].colour.join(" ")})`;
const uncertainty = (photo) => `uncertainty ${photo.entropy.toFixed(3)}`;
const bySize = (shareOf) =>
  classes.map((_, k) => k).sort((a, b) => shareOf(b) - shareOf(a) || a - b);

const allPixels = photos.reduce((sum, photo) => sum + (photo.total ?? 0), 0) || 1;
const ofAll = classes.map(
  (_, k) => photos.reduce((sum, photo) => sum + (photo.pixels?.[k] ?? 0), 0) / allPixels,
);
photos.forEach((photo) => {
  photo.classes = bySize((k) => share(photo, k)).filter((k) => share(photo, k) > 0);
});

function describe(photo) {
  const shares = photo.classes.map((k) => `${classes[k].name} ${percent(share(photo, k))}`);
  return photo.total ? `Mask: ${shares.join(", ") || "no class"}` : "";
}

// Pictures lie in the page as base64. They are decoded only while they are needed.

function show(box, photo, needed = true) {
  const [jpeg, png] = needed ? at(`pictures-${photos.indexOf(photo)}`).textContent.split(" ") : [];
  const fill = (image, type, data, text) => {
    image.hidden = !data || data === "-";
    image.alt = text;
    if (image.hidden) image.removeAttribute("src");
    else image.src = `data:image/${type};base64,${data}`;
  };
  fill(box.querySelector(".photo"), "jpeg", jpeg, `Photo ${photo.name}`);
  fill(box.querySelector(".mask"), "png", png, describe(photo));
  box.classList.toggle("alone", jpeg === "-");
  box.classList.toggle("empty", jpeg === "-" && png === "-");
}

const inView = new IntersectionObserver(
  (entries) => entries.forEach((e) => show(e.target, e.target.shown, e.isIntersecting)),
  { rootMargin: "400px" },
);

// The grid

function bar(photo) {
  const made = element("span", "bar");
  let from = 0;
  const stops = photo.classes.map((k) => {
    const to = from + 100 * share(photo, k);
    const stop = `${rgb(k)} ${from}% ${to}%`;
    from = to;
    return stop;
  });
  if (stops.length) made.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return made;
}

function card(photo) {
  const made = element("button", "card");
  made.type = "button";
  const box = element("span", "box");
  box.shown = photo;
  for (const kind of ["photo", "mask"]) {
    const image = element("img", kind);
    image.decoding = "async";
    image.alt = "";
    image.hidden = true;
    box.append(image);
  }
  const name = element("span", "name");
  name.append(element("bdi", "", photo.name));
  name.title = photo.name;
  made.append(box, bar(photo), name);
  if (photo.entropy !== undefined) made.append(element("span", "known", uncertainty(photo)));
  if (photo.note) made.append(element("span", "note", photo.note));
  made.addEventListener("click", () => openLarge(photo));
  inView.observe(box);
  return made;
}

const cards = new Map(photos.map((photo) => [photo, card(photo)]));
let chosen = null; // the class whose photos are shown
let listed = []; // photos in the order of the grid

const ORDERS = {
  name: () => 0,
  entropy: (a, b) => (b.entropy ?? -1) - (a.entropy ?? -1),
  share: (a, b, k) => share(b, k) - share(a, k),
};

function arrange() {
  const [by, k] = at("order").value.split(" ");
  const turned = at("turn").getAttribute("aria-pressed") === "true" ? -1 : 1;
  const order = (a, b) => ORDERS[by](a, b, k) || names.compare(a.name, b.name);
  listed = photos
    .filter((photo) => chosen === null || share(photo, chosen) >= facts.shows)
    .sort((a, b) => turned * order(a, b));
  at("grid").replaceChildren(...listed.map((photo) => cards.get(photo)));
  const all = `${photos.length.toLocaleString("en")} photo${photos.length === 1 ? "" : "s"}`;
  const verb = listed.length === 1 ? "shows" : "show";
  at("count").textContent =
    chosen === null
      ? all
      : `${listed.length.toLocaleString("en")} of ${all} ${verb} “${classes[chosen].name}”`;
}

at("grid").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
  if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    event.target.closest(".card")?.[step]?.focus();
  }
});

// Legends

function entry(k, value) {
  const patch = element("span", "patch");
  patch.style.background = rgb(k);
  const name = element("bdi", "class", classes[k].name);
  return [patch, name, element("span", "share", percent(value))];
}

for (const k of bySize((i) => ofAll[i])) {
  const button = element("button");
  button.type = "button";
  button.disabled = ofAll[k] === 0;
  button.setAttribute("aria-pressed", "false");
  button.append(...entry(k, ofAll[k]));
  button.addEventListener("click", () => {
    chosen = chosen === k ? null : k;
    for (const other of at("legend").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button && chosen !== null));
    }
    arrange();
  });
  const line = element("li");
  line.append(button);
  at("legend").querySelector("ul").append(line);
}

// Controls

function option(value, text) {
  const made = element("option", "", text);
  made.value = value;
  return made;
}

at("order").append(option("name", "name"));
if (photos.some((photo) => photo.entropy !== undefined)) {
  at("order").append(option("entropy", "uncertainty"));
  at("entropy-help").hidden = false;
}
const shares = element("optgroup");
shares.label = "share of";
classes.forEach((one, k) => ofAll[k] > 0 && shares.append(option(`share ${k}`, one.name)));
at("order").append(shares);
at("order").addEventListener("change", arrange);
at("turn").addEventListener("click", () => {
  const pressed = at("turn").getAttribute("aria-pressed") === "true";
  at("turn").setAttribute("aria-pressed", String(!pressed));
  arrange();
});
at("controls").addEventListener("submit", (event) => event.preventDefault());

const sliders = [at("fade"), at("large-fade")];

function fade(value) {
  for (const slider of sliders) {
    slider.value = value;
    slider.nextElementSibling.textContent = `${slider.value}%`;
  }
  document.documentElement.style.setProperty("--fade", sliders[0].value / 100);
}

for (const slider of sliders) slider.addEventListener("input", () => fade(slider.value));

// The large view

let opened = null;

function openLarge(photo) {
  opened = photo;
  const place = listed.indexOf(photo);
  show(at("stage"), photo);
  at("place").textContent = `${place + 1} of ${listed.length}`;
  at("previous").disabled = place === 0;
  at("next").disabled = place === listed.length - 1;
  at("large-name").textContent = photo.name;
  at("large-entropy").textContent = photo.entropy === undefined ? "" : uncertainty(photo);
  at("large-note").textContent = photo.note ?? "";
  at("larger").parentElement.hidden = !photo.larger;
  if (photo.larger) at("larger").href = `./${photo.larger}`;
  const lines = photo.classes.map((k) => {
    const line = element("li");
    line.append(...entry(k, share(photo, k)));
    return line;
  });
  at("large-legend").replaceChildren(...lines);
  if (!at("large").open) at("large").showModal();
}

function step(by) {
  const next = listed[listed.indexOf(opened) + by];
  if (next) openLarge(next);
}

function closeLarge() {
  at("large").close(); // gives the focus to the photo that was opened first
  cards.get(opened).focus();
  cards.get(opened).scrollIntoView({ block: "nearest" });
}

at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
at("close").addEventListener("click", closeLarge);
at("large").addEventListener("keydown", (event) => {
  const act = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowUp: () => fade(Number(sliders[0].value) + 5),
    ArrowDown: () => fade(Number(sliders[0].value) - 5),
    Escape: closeLarge,
  }[event.key];
  if (act && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault(); // also for the slider, which would take the arrows for itself
    act();
  }
});

fade(sliders[0].value);
arrange();
