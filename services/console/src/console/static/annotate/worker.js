// Work on pixels away from the page, which stays awake meanwhile.
import { denoised, flood, superpixel } from "./masks.js";

let picture = null;

onmessage = ({ data: { id, work, ...given } }) => {
  if (work === "picture") { picture = given; return; }
  const { pixels, width, height } = picture;
  const made = work === "flood" ? flood(pixels, width, height, given.point, given.tolerance)
    : work === "superpixel" ? superpixel(pixels, width, height, given.point, given.cell)
    : denoised(pixels, width, height);
  postMessage({ id, made }, [(made.bits ?? made).buffer]);
};
