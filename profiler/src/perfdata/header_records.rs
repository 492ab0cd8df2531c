//! Records that carry the header's parts: a pipe has no other header, and a file may have some of them too.

use super::PerfDataError;
use super::about::About;
use super::attr;
use super::bytes::{ByteOrder, Fields, text};
use super::events::EventTable;
use super::features;

pub(crate) const ATTR: u32 = 64;
pub(crate) const TRACING_DATA: u32 = 66;
pub(crate) const BUILD_ID: u32 = 67;
pub(crate) const AUXTRACE: u32 = 71;
pub(crate) const EVENT_UPDATE: u32 = 78;
pub(crate) const FEATURE: u32 = 80;
/// `PERF_EVENT_UPDATE__NAME`.
const UPDATE_NAME: u64 = 2;
/// Build ids that are kept: more than any recording's images.
const MOST_BUILD_IDS: usize = 1 << 20;

/// Takes over what one record says, its header included and in the order it was written.
pub(crate) fn take(
    kind: u32,
    record: &[u8],
    (offset, order): (u64, ByteOrder),
    about: &mut About,
    events: &mut EventTable,
) -> Result<(), PerfDataError> {
    let mut fields = Fields::new(record, offset, order, "header record");
    match kind {
        ATTR if about.is_pipe => {
            fields.take(8)?;
            let mut event = attr::read(&mut fields)?;
            while fields.rest().len() >= 8 {
                event.ids.push(fields.u64()?);
            }
            events.add(event, offset)
        }
        BUILD_ID if about.build_ids.len() < MOST_BUILD_IDS => {
            if let Err(error) = features::take_build_id(&mut fields, about) {
                features::note(2, &error, about);
            }
            Ok(())
        }
        EVENT_UPDATE => {
            fields.take(8)?;
            let (what, id) = (fields.u64()?, fields.u64()?);
            if what == UPDATE_NAME {
                events.rename_by_id(id, text(fields.rest()));
            }
            Ok(())
        }
        FEATURE => {
            fields.take(8)?;
            let number = u32::try_from(fields.u64()?).unwrap_or(u32::MAX);
            features::take(number, fields, about, events);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Bytes that follow a record without being in its size: hardware trace and tracepoint formats.
pub(crate) fn extra_bytes(
    kind: u32,
    record: &[u8],
    (offset, order): (u64, ByteOrder),
) -> Result<u64, PerfDataError> {
    let mut fields = Fields::new(record, offset, order, "record of extra bytes");
    fields.take(8)?;
    match kind {
        AUXTRACE => fields.u64(),
        TRACING_DATA => Ok(u64::from(fields.u32()?).next_multiple_of(8)),
        _ => Ok(0),
    }
}

/// Reads the records that a pipe starts with, up to the first that is not a part of its header or
/// is not whole. Damage is found again when the recording is read.
pub(crate) fn read_leading(start: &[u8], offset: u64, about: &mut About, events: &mut EventTable) {
    let order = about.byte_order;
    let mut fields = Fields::new(start, offset, order, "record");
    loop {
        let at = (fields.offset(), order);
        let mut header = fields;
        let (Ok(kind), Ok(_misc), Ok(size)) = (header.u32(), header.u16(), header.u16()) else {
            return;
        };
        // Up to the user-space records for the header and what perf puts between them.
        if kind < ATTR || usize::from(size) < 8 {
            return;
        }
        let Ok(record) = fields.take(usize::from(size)) else {
            return;
        };
        let Ok(extra) = extra_bytes(kind, record, at) else {
            return;
        };
        if take(kind, record, at, about, events).is_err()
            || fields
                .take(usize::try_from(extra).unwrap_or(usize::MAX))
                .is_err()
        {
            return;
        }
    }
}
