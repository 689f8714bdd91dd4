// The classes of a taxonomy as a palette: a colour by severity, and a letter, a hatch and a key, so that colour is never alone.

const HUES = { critical: [352, 325, 12], major: [32, 46, 20], minor: [205, 188, 225], "monitor-only": [275, 255, 295] };
const HATCHES = ["right", "left", "dots", "cross", "level", "upright"];
const ALLOWED = {
  classify: [], box: ["box", "key-points"], segment: ["polygon", "mask", "key-points"], zone: ["box", "polygon", "key-points"],
};
const ANY = ["box", "polygon", "mask", "key-points"];

export function palette(taxonomy) {
  const seen = {}, letters = new Set();
  return taxonomy.classes.map((one, number) => {
    const nth = (seen[one.severity] = (seen[one.severity] ?? -1) + 1);
    const hues = HUES[one.severity] ?? HUES.minor;
    const hue = one.is_defect ? hues[nth % hues.length] : 145, light = 62 + 7 * (Math.floor(nth / hues.length) % 3);
    const letter = [...one.name.toUpperCase(), ..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((l) => /[A-Z]/.test(l) && !letters.has(l)) ?? "?";
    letters.add(letter);
    return {
      ...one, letter,
      colour: one.colour ?? `hsl(${hue} 92% ${light}%)`,
      hatch: HATCHES[number % HATCHES.length],
      kinds: one.is_defect ? ALLOWED[one.region_rule] ?? ANY : [],
    };
  }).map((one, _, all) => {
    const number = all.filter((other) => other.is_defect).indexOf(all.find((other) => other.name === one.name)) + 1;
    return { ...one, key: one.is_defect && number <= 9 ? String(number) : null };
  });
}

export const find = (classes, name) => classes.find((one) => one.name === name)
  ?? { name, letter: "?", colour: "hsl(0 0% 75%)", hatch: "cross", kinds: ANY, severity: null, is_defect: true };

// A hatch of a colour as a pattern to fill with.
const made = new Map();
export function hatch(context, { colour, hatch: kind }, strength) {
  const key = `${colour} ${kind} ${strength}`;
  if (!made.has(key)) {
    const tile = new OffscreenCanvas(10, 10), ink = tile.getContext("2d");
    ink.fillStyle = ink.strokeStyle = colour;
    ink.globalAlpha = strength * 0.45;
    ink.fillRect(0, 0, 10, 10);
    ink.globalAlpha = Math.min(1, strength * 1.6);
    ink.lineWidth = 1.6;
    const line = (...points) => { ink.beginPath(); ink.moveTo(points[0], points[1]); ink.lineTo(points[2], points[3]); ink.stroke(); };
    if (kind === "dots") { ink.beginPath(); ink.arc(5, 5, 1.7, 0, 7); ink.fill(); }
    if (kind === "right" || kind === "cross") { line(-1, 11, 11, -1); line(-1, 1, 1, -1); line(9, 11, 11, 9); }
    if (kind === "left" || kind === "cross") { line(-1, -1, 11, 11); line(9, -1, 11, 1); line(-1, 9, 1, 11); }
    if (kind === "level") line(0, 5, 10, 5);
    if (kind === "upright") line(5, 0, 5, 10);
    made.set(key, context.createPattern(tile, "repeat"));
  }
  return made.get(key);
}
