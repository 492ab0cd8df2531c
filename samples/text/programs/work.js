// Classes, closures, regular expressions, JSON. node --perf-basic-prof --interpreted-frames-native-stack work.js
class Shop {
  constructor() { this.stock = new Map(); }
  add(name, count) { this.stock.set(name, (this.stock.get(name) || 0) + count); }
  *[Symbol.iterator]() { yield* this.stock; }
}
function parse(lines) {
  return lines.map((line) => JSON.parse(line)).filter(({ name }) => /^thing[0-9]+["']?$/.test(name));
}
function round(n) {
  const shop = new Shop();
  const lines = [];
  for (let i = 0; i < 3000; i++) lines.push(JSON.stringify({ name: `thing${(i * n) % 97}`, count: i }));
  for (const { name, count } of parse(lines)) shop.add(name, count);
  return [...shop].sort(([a], [b]) => (a < b ? -1 : 1)).length;
}
const end = Date.now() + 2000;
let sum = 0;
for (let n = 1; Date.now() < end; n++) sum += round(n);
console.log(sum);
