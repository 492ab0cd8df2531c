// burn.js SECONDS: a node whose JavaScript is known: burnTop → burnFib → burnFib … for all but a trace of the time.
// Run it with a perf map: node --perf-basic-prof --interpreted-frames-native-stack burn.js 60
'use strict';

function burnFib(n) {
  return n < 2 ? n : burnFib(n - 1) + burnFib(n - 2);
}

function burnTop(until) {
  let sum = 0;
  while (Date.now() < until) {
    sum += burnFib(24);
  }
  return sum;
}

console.log('burning');
console.log(burnTop(Date.now() + Number(process.argv[2]) * 1000));
