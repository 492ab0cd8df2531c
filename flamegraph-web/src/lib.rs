//! A tree of counted frames becomes one self-contained SVG. Pure: its output is a function of its input.
#![forbid(unsafe_code)]

mod drawing;
mod feed;
mod legend;
mod marks;
mod palette;
mod svg;

pub use feed::DETAIL;
pub use svg::{Picture, SvgError, write_svg};
