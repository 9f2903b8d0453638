// Which words: Korean or English. A value of a dictionary is a string, or a function of the
// parameters that the caller passes.

import { en } from "./words-en.mjs";
import { ko } from "./words-ko.mjs";
import { etaRange, splitDays } from "./clock.mjs";
import { rememberLanguage, rememberedLanguage } from "./store.mjs";

const WORDS = { ko, en };
let language = "en";

export function chooseLanguage(remembered = rememberedLanguage(), wished = navigator.languages ?? [navigator.language]) {
  language = Object.hasOwn(WORDS, remembered ?? "")
    ? remembered
    : wished.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => Object.hasOwn(WORDS, tag)) ?? "en";
  return language;
}

export function setLanguage(next) {
  language = next;
  rememberLanguage(next);
}

export function currentLanguage() {
  return language;
}

export function t(key, values) {
  const word = WORDS[language][key];
  // A missing word shows its key: ugly, and found at once.
  return typeof word === "function" ? word(values) : (word ?? key);
}

export function number(value) {
  return value.toLocaleString(language);
}

export function dateTime(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString(language, {
    dateStyle: "long", timeStyle: "short",
  });
}

export function etaWords(eta) {
  const range = etaRange(eta);
  return t(`eta_${range.unit}`, range);
}

export function untilWords(ms) {
  const { days, clock } = splitDays(ms);
  return days > 0 ? t("days_and", { days, clock }) : clock;
}

/** "Block A, row 14, seat 3", or the bare id where the plan is not (yet) known. */
export function seatWords(plan, guid) {
  const seat = plan?.byGuid.get(guid);
  return seat ? t("seat", { zone: seat.zone.name, row: seat.row.name, number: seat.number }) : guid;
}

export function seatsWords(plan, guids) {
  return guids.map((guid) => seatWords(plan, guid)).join(t("list_separator"));
}
