// A session may end while somebody draws: what they drew stays, and goes out when they have signed in again elsewhere.
import { session } from "./api.js";
import { $, t } from "./texts.js";

export function watchSession() {
  const notice = $("#signed-out");
  session.addEventListener("out", ({ detail }) => {
    $("span", notice).textContent = detail.title === "signed-out" ? t("page.signed-out") : detail.detail;
    notice.hidden = false;
  });
  session.addEventListener("in", () => { notice.hidden = true; });
}
