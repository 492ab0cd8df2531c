//! The zstd stream inside of COMPRESSED records: one frame over all of them, which perf never closes.
//!
//! The decoder hands out what it decoded only once it has a whole window more, so the output lags
//! behind the input by a window (512 KiB at perf's default level). A mark in the input, such as the
//! end of a round, is therefore turned into a position in the output: [`Inflater::position`].

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Magic number of a frame, and of the sixteen kinds of frames that are to be skipped.
const FRAME_MAGIC: u32 = 0xFD2F_B528;
const SKIPPED_MAGIC: u32 = 0x184D_2A50;
/// An empty last block: closes the frame that perf leaves open.
const LAST_BLOCK: [u8; 3] = [1, 0, 0];
/// What a block decodes to at most.
const LONGEST_BLOCK_BYTES: usize = 128 << 10;
/// No stream's window may be larger than this: perf's highest level.
pub(crate) const LARGEST_WINDOW_BYTES: u64 = 128 << 20;

/// Decompresses one stream, piece by piece.
pub(crate) struct Inflater {
    decoder: FrameDecoder,
    /// Input that does not make a whole block yet, from `used` on.
    input: Vec<u8>,
    used: usize,
    state: State,
    /// Bytes handed out.
    handed_out: u64,
    /// Bytes handed out before this frame.
    before_frame: u64,
    /// A block could not be decoded: of what the decoder keeps, its part cannot be trusted.
    has_failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FrameHeader,
    /// With the bytes that the decoder keeps back, where the header says.
    Blocks {
        window_bytes: Option<u64>,
    },
    /// Bytes of a frame that is skipped.
    Skipping(u64),
}

impl Inflater {
    pub(crate) fn new(largest_window_bytes: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(largest_window_bytes.min(LARGEST_WINDOW_BYTES));
        Self {
            decoder,
            input: Vec::new(),
            used: 0,
            state: State::FrameHeader,
            handed_out: 0,
            before_frame: 0,
            has_failed: false,
        }
    }

    /// Takes the next piece of the stream. What was not used before is a part of a block.
    pub(crate) fn push(&mut self, compressed: &[u8]) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(compressed);
    }

    /// Decodes one block, or one frame header; what can be handed out is appended to `output`.
    /// `false` when more input is needed.
    pub(crate) fn step(&mut self, output: &mut Vec<u8>) -> Result<bool, String> {
        let input = self.input.get(self.used..).unwrap_or_default();
        match self.state {
            State::FrameHeader => {
                let Some(found) = frame_start(input)? else {
                    return Ok(false);
                };
                if let State::Blocks { .. } = found.state {
                    let header = input.get(..found.len).unwrap_or_default();
                    self.decoder
                        .reset(header)
                        .map_err(|error| error.to_string())?;
                }
                self.used += found.len;
                self.before_frame = self.handed_out;
                self.state = found.state;
                Ok(true)
            }
            State::Skipping(left) => {
                let skipped = left.min(input.len() as u64);
                self.used += skipped as usize;
                self.state = match left - skipped {
                    0 => State::FrameHeader,
                    left => State::Skipping(left),
                };
                Ok(skipped > 0 || left == 0)
            }
            State::Blocks { .. } => {
                let Some(len) = block_len(input) else {
                    return Ok(false);
                };
                let Some(block) = input.get(..len) else {
                    return Ok(false);
                };
                let decoded = decode_block(&mut self.decoder, block);
                self.has_failed |= decoded.is_err();
                let is_last = decoded?;
                self.used += len;
                self.hand_out(output)?;
                if is_last {
                    self.state = State::FrameHeader;
                }
                Ok(true)
            }
        }
    }

    fn hand_out(&mut self, output: &mut Vec<u8>) -> Result<(), String> {
        let written = self.decoder.collect_to_writer(output);
        self.handed_out += written.map_err(|error| error.to_string())? as u64;
        Ok(())
    }

    /// Where the output ends that belongs to the input so far: after everything handed out, by what
    /// the decoder keeps back. `None` while less than a window was decoded: the decoder does not say
    /// how much it is then.
    pub(crate) fn position(&self) -> Option<u64> {
        match self.state {
            State::Blocks { window_bytes } if self.handed_out > self.before_frame => {
                window_bytes.map(|window| self.handed_out + window)
            }
            State::Blocks { .. } => None,
            _ => Some(self.handed_out),
        }
    }

    /// Closes the frame: what was kept back is appended to `output`. Bytes of a block that never
    /// came whole are an error.
    pub(crate) fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), String> {
        let left = self.input.len() - self.used;
        if let State::Blocks { .. } = self.state {
            decode_block(&mut self.decoder, &LAST_BLOCK)?;
            let before = output.len();
            self.hand_out(output)?;
            self.state = State::FrameHeader;
            if self.has_failed {
                output.truncate(before.max(output.len().saturating_sub(LONGEST_BLOCK_BYTES)));
            }
        }
        if left > 0 {
            return Err(format!("{left} bytes of a block that is cut"));
        }
        Ok(())
    }
}

struct FrameStart {
    len: usize,
    state: State,
}

/// Reads where a frame begins; `None` when there is not enough of it yet.
fn frame_start(input: &[u8]) -> Result<Option<FrameStart>, String> {
    let Some((magic, rest)) = input.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let magic = u32::from_le_bytes(*magic);
    if magic & !0xf == SKIPPED_MAGIC {
        return Ok(rest.first_chunk::<4>().map(|len| FrameStart {
            len: 8,
            state: State::Skipping(u64::from(u32::from_le_bytes(*len))),
        }));
    }
    if magic != FRAME_MAGIC {
        return Err(format!(
            "frame magic {FRAME_MAGIC:#x} expected, found {magic:#x}"
        ));
    }
    // RFC 8878, 3.1.1.1: descriptor, window, dictionary id, content size.
    let Some((descriptor, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let is_single = descriptor >> 5 & 1 == 1;
    let has_checksum = descriptor >> 2 & 1 == 1;
    let dictionary_bytes = match descriptor & 3 {
        3 => 4,
        bytes => usize::from(bytes),
    };
    let content_bytes = match descriptor >> 6 {
        0 => usize::from(is_single),
        size => 1 << size,
    };
    let len = 5 + usize::from(!is_single) + dictionary_bytes + content_bytes;
    if input.len() < len {
        return Ok(None);
    }
    if has_checksum {
        // Its check would need every byte to be hashed, and perf does not ask for one.
        return Err("frame with a checksum, which perf does not write".to_owned());
    }
    let window_bytes = if is_single {
        // The window is the content's size: what the decoder keeps back is not known before its end.
        None
    } else {
        let window = rest.first().copied().unwrap_or(0);
        let base = 1u64 << (10 + (window >> 3));
        Some(base + base / 8 * u64::from(window & 7))
    };
    let state = State::Blocks { window_bytes };
    Ok(Some(FrameStart { len, state }))
}

/// Length of the block at the start of `input`, its header included.
fn block_len(input: &[u8]) -> Option<usize> {
    let [first, second, third, ..] = *input else {
        return None;
    };
    let header = u32::from_le_bytes([first, second, third, 0]);
    let content = match header >> 1 & 3 {
        // A run of one byte.
        1 => 1,
        _ => (header >> 3) as usize,
    };
    Some(3 + content)
}

/// Decodes one whole block. The decoder has assertions in it that a damaged block may reach.
fn decode_block(decoder: &mut FrameDecoder, block: &[u8]) -> Result<bool, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        decoder.decode_blocks(block, BlockDecodingStrategy::UptoBlocks(1))
    }));
    match decoded {
        Ok(Ok(is_last)) => Ok(is_last),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder gave up on a block".to_owned()),
    }
}
