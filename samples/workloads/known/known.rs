//! As known.c, in Rust: a trait object, a generic function, a closure. Argument: seconds of CPU time.

use std::hint::black_box;
use std::io::{Read, stdin};
use std::time::{Duration, Instant};

trait Shape {
    fn area(&self, value: u64) -> u64;
}

struct Circle;

impl Shape for Circle {
    #[inline(never)]
    fn area(&self, mut value: u64) -> u64 {
        for _ in 0..20_000 {
            value = black_box(value.wrapping_mul(2862933555777941757).wrapping_add(3037000493));
        }
        value
    }
}

#[inline(never)]
fn alpha_middle(shape: &dyn Shape, value: u64) -> u64 {
    black_box(shape.area(value)) + 1
}

#[inline(never)]
fn alpha_outer(value: u64) -> u64 {
    black_box(alpha_middle(black_box(&Circle), value)) + 1
}

#[inline(never)]
fn beta_leaf(mut value: u64) -> u64 {
    for _ in 0..20_000 {
        value = black_box(value.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    }
    value
}

#[inline(never)]
fn beta_outer(value: u64) -> u64 {
    black_box(beta_leaf(value)) + 1
}

/// A path, and what was spent in it.
struct Path {
    stack: &'static str,
    function: fn(u64) -> u64,
    spent: Duration,
}

fn path(stack: &'static str, function: fn(u64) -> u64) -> Path {
    Path {
        stack,
        function,
        spent: Duration::ZERO,
    }
}

fn main() {
    let seconds: f64 = std::env::args().nth(1).map_or(1.0, |text| text.parse().expect("seconds"));
    let mut paths = [
        path(
            "known::main;known::alpha_outer;known::alpha_middle;<known::Circle as known::Shape>::area",
            alpha_outer,
        ),
        path("known::main;known::beta_outer;known::beta_leaf", beta_outer),
    ];
    println!("ready");
    let mut line = [0];
    stdin().read_exact(&mut line).expect("a line");
    // Wall time: std has no CPU clock. The shares are the same.
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut value = 1;
    while Instant::now() < end {
        for path in &mut paths {
            let before = Instant::now();
            for _ in 0..20 {
                value = (path.function)(value);
            }
            path.spent += before.elapsed();
        }
    }
    black_box(value);
    for path in &paths {
        println!("stack {} {}", path.spent.as_nanos(), path.stack);
    }
    println!("end");
    stdin().read_to_end(&mut Vec::new()).expect("its end");
}
