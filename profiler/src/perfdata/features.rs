//! The feature sections behind the data (or in a pipe's feature records): host, events' names, build ids.

use super::PerfDataError;
use super::about::{self, About, CutFeatures, ImageBuildId, UnreadableFeature};
use super::attr;
use super::bytes::{Fields, until_nul};
use super::events::EventTable;
use super::sidecar::{self, Sidecar};
use crate::BuildId;
use std::sync::Arc;

/// `HEADER_*` (tools/perf/util/header.h): those that are read or written; all others are skipped.
pub(crate) mod number {
    /// No feature: what says where they are.
    pub(crate) const TABLE: u32 = 0;
    pub(crate) const BUILD_ID: u32 = 2;
    pub(crate) const HOSTNAME: u32 = 3;
    pub(crate) const OS_RELEASE: u32 = 4;
    pub(crate) const VERSION: u32 = 5;
    pub(crate) const ARCH: u32 = 6;
    pub(crate) const CPUS: u32 = 7;
    pub(crate) const CPU_NAME: u32 = 8;
    pub(crate) const CPU_ID: u32 = 9;
    pub(crate) const MEMORY: u32 = 10;
    pub(crate) const COMMAND_LINE: u32 = 11;
    pub(crate) const EVENT_DESC: u32 = 12;
    pub(crate) const SAMPLE_TIME: u32 = 21;
    pub(crate) const CLOCK_ID: u32 = 23;
    pub(crate) const DIR_FORMAT: u32 = 24;
    pub(crate) const CLOCK_DATA: u32 = 29;
}

/// `PERF_RECORD_MISC_*` of a build-id record.
pub(crate) mod misc {
    pub(crate) const CPUMODE_MASK: u16 = 7;
    pub(crate) const KERNEL: u16 = 1;
    pub(crate) const USER: u16 = 2;
    /// Byte 20 of the id is its length.
    pub(crate) const BUILD_ID_SIZE: u16 = 1 << 15;
}

/// Whether a section of this number is worth reading.
pub(crate) fn is_wanted(number: u32) -> bool {
    number != number::TABLE && about::feature_name(number).is_some()
}

/// Takes over what one section says; a damaged one is noted and changes nothing that samples need.
pub(crate) fn take(number: u32, fields: Fields<'_>, about: &mut About, events: &mut EventTable) {
    if let Err(error) = try_take(number, fields, about, events) {
        note(number, &error, about);
    }
}

/// Notes a section that could not be read.
pub(crate) fn note(feature: u32, error: &PerfDataError, about: &mut About) {
    // A pipe can repeat a feature record without end.
    if about.unreadable.len() < 64 {
        about.unreadable.push(UnreadableFeature {
            feature,
            reason: error.to_string(),
        });
    }
}

/// Notes a section that the file, of `len_bytes`, ends before or in.
pub(crate) fn note_cut(feature: u32, len_bytes: u64, about: &mut About) {
    let cut = about.cut.get_or_insert(CutFeatures {
        len_bytes,
        features: Vec::new(),
    });
    if is_wanted(feature) {
        cut.features.push(feature);
    }
}

fn try_take(
    number: u32,
    mut fields: Fields<'_>,
    about: &mut About,
    events: &mut EventTable,
) -> Result<(), PerfDataError> {
    match number {
        number::HOSTNAME => about.hostname = Some(fields.string()?),
        number::OS_RELEASE => about.os_release = Some(fields.string()?),
        number::VERSION => about.perf_version = Some(fields.string()?),
        number::ARCH => about.arch = Some(fields.string()?),
        number::CPUS => about.cpus = Some((fields.u32()?, fields.u32()?)),
        number::SAMPLE_TIME => about.sample_time_ns = Some((fields.u64()?, fields.u64()?)),
        number::COMMAND_LINE => {
            let count = fields.u32()?;
            about.command_line.clear();
            // No kernel takes more arguments, and each costs memory.
            for _ in 0..count.min(1 << 16) {
                about.command_line.push(fields.string()?);
            }
        }
        number::CLOCK_DATA => {
            let (_version, clock) = (fields.u32()?, fields.u32()?);
            about.clock_id = Some(clock);
            about.wall_clock_ns = Some((fields.u64()?, fields.u64()?));
        }
        sidecar::FEATURE => about.sidecar = Some(Arc::new(Sidecar::decode(fields)?)),
        number::EVENT_DESC => take_event_names(fields, events)?,
        number::BUILD_ID => {
            while !fields.is_empty() {
                take_build_id(&mut fields, about)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// `{u32 events, u32 attr bytes, {attr, u32 ids, string, u64 ids[]}…}`: the names as they were asked
/// for. Matched by id, or by position where an event has no ids.
fn take_event_names(mut fields: Fields<'_>, events: &mut EventTable) -> Result<(), PerfDataError> {
    let (count, attr_bytes) = (fields.u32()?, fields.u32()?);
    for position in 0..count {
        let (start, order) = (fields.offset(), fields.order());
        let bytes = fields.take(attr_bytes as usize)?;
        let described = attr::read(&mut Fields::new(bytes, start, order, "event description"))?;
        let ids = fields.u32()?;
        let name = fields.string()?;
        let mut first_id = None;
        for _ in 0..ids {
            let id = fields.u64()?;
            first_id.get_or_insert(id);
        }
        match first_id {
            Some(id) => events.rename_by_id(id, name),
            None => {
                let same = events.events().get(position as usize).is_some_and(|event| {
                    (event.kind, event.config) == (described.kind, described.config)
                });
                if same {
                    events.rename(position as usize, name);
                }
            }
        }
    }
    Ok(())
}

/// `struct perf_record_header_build_id`, record header included.
pub(crate) fn take_build_id(
    fields: &mut Fields<'_>,
    about: &mut About,
) -> Result<(), PerfDataError> {
    let offset = fields.offset();
    let (_kind, misc, size_bytes) = (fields.u32()?, fields.u16()?, fields.u16()?);
    // header, pid and id
    let Some(path_bytes) = usize::from(size_bytes).checked_sub(8 + 4 + 24) else {
        return Err(PerfDataError::BadField {
            offset: offset + 6,
            what: "size of a build-id entry (36 or more expected)",
            found: u64::from(size_bytes),
        });
    };
    let pid = fields.u32()? as i32;
    let id = fields.array::<24>()?;
    let path = until_nul(fields.take(path_bytes)?).to_vec();
    let len = if misc & misc::BUILD_ID_SIZE == 0 {
        BuildId::MAX_BYTES
    } else {
        id.get(20).copied().map_or(0, usize::from)
    };
    if let Some(id) = id.get(..len).and_then(BuildId::new) {
        about.build_ids.push(ImageBuildId {
            pid,
            id,
            path,
            is_kernel: misc & misc::CPUMODE_MASK == misc::KERNEL,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::bytes::ByteOrder;
    use super::*;

    fn take_le(number: u32, bytes: &[u8]) -> About {
        let mut about = About::new(ByteOrder::Little, false);
        let fields = Fields::new(bytes, 1000, ByteOrder::Little, "feature");
        take(number, fields, &mut about, &mut EventTable::default());
        about
    }

    #[test]
    fn a_build_id_has_the_length_that_its_entry_says() {
        let mut entry = [67u8, 0, 0, 0, 2, 0x80, 44, 0].to_vec();
        entry.extend((-1i32).to_le_bytes());
        let mut id = [0; 24];
        id[..4].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        id[20] = 4;
        entry.extend(id);
        entry.extend(b"/lib/x\0\0");
        let about = take_le(number::BUILD_ID, &entry);
        assert_eq!(about.unreadable, []);
        let expected = ImageBuildId {
            pid: -1,
            id: BuildId::new(&[0xde, 0xad, 0xbe, 0xef]).expect("four bytes"),
            path: b"/lib/x".to_vec(),
            is_kernel: false,
        };
        assert_eq!(about.build_ids, [expected]);

        // Without the length bit all twenty bytes are the id.
        entry[5] = 0;
        let about = take_le(number::BUILD_ID, &entry);
        assert_eq!(
            about
                .build_ids
                .first()
                .map(|image| image.id.as_bytes().len()),
            Some(20)
        );
        for len in 1..entry.len() {
            let about = take_le(number::BUILD_ID, &entry[..len]);
            assert_eq!(
                (about.build_ids.len(), about.unreadable.len()),
                (0, 1),
                "{len}"
            );
        }
    }

    #[test]
    fn a_count_of_four_thousand_million_words_is_cut_short_by_the_section() {
        let about = take_le(
            number::COMMAND_LINE,
            &[255, 255, 255, 255, 1, 0, 0, 0, b'p'],
        );
        assert_eq!(about.command_line, ["p"]);
        assert_eq!(
            about
                .unreadable
                .first()
                .map(|unread| unread.reason.as_str()),
            Some("the recording ends inside the feature at byte 1009: 4 bytes expected, 0 left")
        );
    }
}
