//! Checked access to fixed-size fields of a header, all of them big-endian, and a cursor that writes them in order.

/// The `N` bytes at offset `at`, or `None` where they do not lie within `bytes`.
#[inline]
#[must_use]
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.first_chunk()
}

/// The `N` bytes at offset `at` to rewrite, or `None` where they do not lie within `bytes`.
#[inline]
#[must_use]
pub fn field_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

/// The octet at offset `at`.
#[inline]
#[must_use]
pub fn read_u8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The big-endian 16-bit integer at offset `at`.
#[inline]
#[must_use]
pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).copied().map(u16::from_be_bytes)
}

/// The eight bytes at offset `AT` of a header as one word, the first byte least significant, so that several fields are
/// read at once.
#[inline(always)]
#[must_use]
pub fn word_at<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u64 {
    const { assert!(AT + size_of::<u64>() <= N) };
    let mut word = [0; size_of::<u64>()];
    word.copy_from_slice(&bytes[AT..AT + size_of::<u64>()]);
    u64::from_le_bytes(word)
}

/// Writes bytes at offset `AT` of a header.
#[inline(always)]
pub fn put_at<const AT: usize, const W: usize, const N: usize>(bytes: &mut [u8; N], written: [u8; W]) {
    const { assert!(AT + W <= N) };
    bytes[AT..AT + W].copy_from_slice(&written);
}

/// A big-endian 16-bit field as the part of a word that [`word_at`] reads from the field's offset on.
#[inline(always)]
#[must_use]
pub const fn to_word(field: u16) -> u64 {
    field.swap_bytes() as u64
}

/// Writes header fields one behind the other into a caller's buffer; every step is `None` where the room ends.
pub(super) struct FieldWriter<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> FieldWriter<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// How many bytes were written.
    pub(super) fn written(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_endian_and_end_with_the_bytes() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!((read_u8(&bytes, 4), read_u8(&bytes, 5)), (Some(5), None));
        assert_eq!((read_u16(&bytes, 3), read_u16(&bytes, 4)), (Some(0x0405), None));
        assert_eq!(read_u16(&bytes, usize::MAX), None);
        assert_eq!(field::<3>(&bytes, 2), Some(&[3, 4, 5]));
    }

    #[test]
    fn a_field_is_rewritten_in_place_only_where_it_lies_within() {
        let mut bytes = [0; 4];
        assert!(field_mut::<4>(&mut bytes, 1).is_none());
        *field_mut(&mut bytes, 2).expect("within") = [7, 8];
        assert_eq!(bytes, [0, 0, 7, 8]);
    }

    #[test]
    fn the_writer_stops_at_the_end_of_the_room() {
        let mut out = [0; 3];
        let mut writer = FieldWriter::new(&mut out);
        assert_eq!(writer.put(&[1, 2]), Some(()));
        assert_eq!(writer.put(&[3, 4]), None);
        assert_eq!(writer.written(), 2);
        assert_eq!(out, [1, 2, 0]);
    }
}
