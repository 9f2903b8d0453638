// What the page needs may not come: a phone changes networks, a server ends between the page and its scripts. A browser asks
// once and gives up, so the page is loaded anew, once it can be had. It is put into the pages themselves (src/edge/pages):
// of all that they need it alone is sure to be there.
{
  const FIRST_MS = 1_000;
  const LONGEST_MS = 30_000;
  let waiting = false;
  const say = () => document.getElementById("again")?.removeAttribute("hidden");

  /** Later with each time, also over what was loaded meanwhile: a file may be missing for long, and all visitors miss it. */
  const later = (times) => setTimeout(async () => {
    const there = await fetch(location.href, { cache: "no-store" }).then(({ ok }) => ok, () => false);
    if (!there) {
      later(times + 1);
      return;
    }
    history.replaceState({ times: times + 1 }, "");
    location.reload();
  }, Math.min(FIRST_MS * 2 ** times, LONGEST_MS) * (0.5 + Math.random()));

  addEventListener("error", ({ target }) => {
    if (waiting || !(target instanceof Element && target.matches("script, link[rel=stylesheet]"))) return;
    waiting = true;
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", say);
    else say();
    later(history.state?.times ?? 0);
  }, true);
}
