// A seating plan (pretix's open format) as the page needs it: seats in plan order (the index is
// the bit in `taken`), their coordinates, and a fallback grid for plans that were never drawn.

/**
 * → { seats: [{ index, guid, number, row, zone, category, x, y }], byGuid, rows, zones, categories,
 *     pitch, box: { x, y, width, height } }
 */
export function readPlan(plan) {
  const categories = (plan.categories ?? []).map(({ name, color }) => ({ name, color: color ?? "#777777" }));
  const seats = [];
  const rows = [];
  const zones = [];
  for (const zone of plan.zones ?? []) {
    const inZone = { name: zone.name ?? "", rows: [], seats: [] };
    zones.push(inZone);
    for (const row of zone.rows ?? []) {
      const inRow = { name: row.row_number ?? "", zone: inZone, seats: [] };
      rows.push(inRow);
      inZone.rows.push(inRow);
      for (const seat of row.seats ?? []) {
        const entry = {
          index: seats.length,
          guid: seat.seat_guid,
          number: seat.seat_number ?? "",
          row: inRow,
          zone: inZone,
          category: categories.findIndex(({ name }) => name === seat.category),
          x: sum("x", zone, row, seat),
          y: sum("y", zone, row, seat),
        };
        seats.push(entry);
        inRow.seats.push(entry);
        inZone.seats.push(entry);
      }
    }
  }
  if (!isDrawn(seats)) drawGrid(zones);
  const pitch = seatPitch(seats);
  for (const zone of zones) zone.box = boxOf(zone.seats, pitch);
  return {
    name: plan.name ?? "",
    seats, rows, zones, categories, pitch,
    byGuid: new Map(seats.map((seat) => [seat.guid, seat])),
    box: boxOf(seats, pitch * 2.6),
  };
}

/** Positions add up; where any of the three is missing the seat counts as not drawn. */
function sum(axis, ...parts) {
  return parts.reduce((total, part) => total + (part.position?.[axis] ?? NaN), 0);
}

function isDrawn(seats) {
  const points = new Set();
  for (const { x, y } of seats) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return false;
    points.add(`${x},${y}`);
  }
  // Editors export undrawn plans with everything at 0,0.
  return points.size >= seats.length * 0.95;
}

const CELL = 25;

/** Each zone a block of straight rows, centred; blocks set in shelves of about a hall's shape. */
function drawGrid(zones) {
  const size = (zone) => ({
    width: Math.max(1, ...zone.rows.map((row) => row.seats.length)) * CELL + CELL * 3,
    height: Math.max(1, zone.rows.length) * CELL + CELL * 4,
  });
  const area = zones.reduce((total, zone) => total + size(zone).width * size(zone).height, 0);
  const shelf = Math.max(Math.sqrt(area * 1.8), ...zones.map((zone) => size(zone).width));
  let left = 0;
  let top = 0;
  let tallest = 0;
  for (const zone of zones) {
    const { width, height } = size(zone);
    if (left > 0 && left + width > shelf) {
      left = 0;
      top += tallest;
      tallest = 0;
    }
    zone.rows.forEach((row, r) => {
      const indent = (width - CELL * 3 - row.seats.length * CELL) / 2;
      row.seats.forEach((seat, s) => {
        seat.x = left + indent + s * CELL;
        seat.y = top + r * CELL;
      });
    });
    left += width;
    tallest = Math.max(tallest, height);
  }
}

/** The distance between neighbours: what radius a seat may have without touching the next. */
function seatPitch(seats) {
  if (seats.length < 2) return CELL;
  // A sample is enough and keeps a plan of 100,000 seats quick.
  const step = Math.ceil(seats.length / 150);
  const nearest = [];
  for (let i = 0; i < seats.length; i += step) {
    let best = Infinity;
    for (const other of seats) {
      const distance = Math.hypot(other.x - seats[i].x, other.y - seats[i].y);
      if (distance > 0 && distance < best) best = distance;
    }
    if (best < Infinity) nearest.push(best);
  }
  nearest.sort((a, b) => a - b);
  return nearest[Math.floor(nearest.length / 10)] ?? CELL;
}

function boxOf(seats, margin) {
  if (seats.length === 0) return { x: 0, y: 0, width: 100, height: 100 };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of seats) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return {
    x: left - margin, y: top - margin,
    width: right - left + margin * 2, height: bottom - top + margin * 2,
  };
}

/** The seat that an arrow key means: near in that direction, and not far off to the side. */
export function neighbour(seats, from, dx, dy) {
  let best = null;
  let bestCost = Infinity;
  for (const seat of seats) {
    const along = (seat.x - from.x) * dx + (seat.y - from.y) * dy;
    if (along <= 0) continue;
    const aside = Math.abs((seat.x - from.x) * dy) + Math.abs((seat.y - from.y) * dx);
    const cost = along + aside * 3;
    if (cost < bestCost) [best, bestCost] = [seat, cost];
  }
  return best;
}

export function freeSeats(seats, taken) {
  let free = 0;
  for (const { index } of seats) if (!taken[index]) free++;
  return free;
}

/**
 * The operator's colour, mixed towards black or white until it stands out from the map (contrast
 * 3:1, as WCAG asks of graphics): plans are drawn for paper, and the page also has a dark face.
 */
export function legible(color, surface) {
  const rgb = parseColor(color) ?? [119, 119, 119];
  const ground = parseColor(surface);
  const towards = luminance(ground) > 0.4 ? 0 : 255;
  for (let mix = 0; mix < 1; mix += 0.05) {
    const mixed = rgb.map((part) => Math.round(part + (towards - part) * mix));
    if (contrast(mixed, ground) >= 3) return `rgb(${mixed.join(", ")})`;
  }
  return towards ? "#ffffff" : "#000000";
}

function parseColor(text) {
  const long = /^#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text ?? "");
  if (long) return long.slice(1).map((part) => parseInt(part, 16));
  const short = /^#?([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(text ?? "");
  return short ? short.slice(1).map((part) => parseInt(part + part, 16)) : null;
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}
