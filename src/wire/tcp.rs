//! TCP segments that open a connection: the maximum segment size they announce (RFC 9293, 3.7.1) lowered to what fits.

use super::checksum::update_u16;
use super::field::{field, field_mut, read_u8};

/// A TCP header without options, in bytes.
pub const TCP_HEADER: usize = 20;

const CHECKSUM_AT: usize = 16;
const FLAGS_AT: usize = 13;
const SYN: u8 = 0x02;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// True for a segment that announces a maximum segment size, if it does at all: one with SYN set.
#[must_use]
pub fn opens_connection(segment: &[u8]) -> bool {
    read_u8(segment, FLAGS_AT).is_some_and(|flags| flags & SYN != 0)
}

/// Lowers the maximum segment size that a SYN announces to `limit` bytes, and corrects the checksum by the difference
/// (RFC 1624), so that one that was wrong stays wrong. False, and nothing changed, where it announces none, or no more
/// than that, or is malformed.
#[must_use]
pub fn clamp_segment_size(segment: &mut [u8], limit: u16) -> bool {
    let clamped = || {
        let at = segment_size_at(segment)?;
        let announced = u16::from_be_bytes(*field(segment, at)?);
        (opens_connection(segment) && announced > limit).then_some((at, announced))
    };
    let Some((at, announced)) = clamped() else { return false };
    let Some(checksum) = field(segment, CHECKSUM_AT).map(|bytes| u16::from_be_bytes(*bytes)) else { return false };
    // At an odd place the option's bytes are halves of two words: their sum is that of the word with its bytes swapped.
    let place = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
    let corrected = update_u16(checksum, place(announced), place(limit));
    let (Some(_), Some(_)) = (
        field_mut(segment, at).map(|bytes| *bytes = limit.to_be_bytes()),
        field_mut(segment, CHECKSUM_AT).map(|bytes| *bytes = corrected.to_be_bytes()),
    ) else {
        return false;
    };
    true
}

/// Where a segment has its maximum segment size.
fn segment_size_at(segment: &[u8]) -> Option<usize> {
    let end = usize::from(read_u8(segment, 12)? >> 4) * 4;
    let options = segment.get(..end)?;
    let mut at = TCP_HEADER;
    // Every option but the two of one byte has at least two, so this ends.
    loop {
        match read_u8(options, at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let length = usize::from(read_u8(options, at + 1)?);
                match (kind, length) {
                    (MAXIMUM_SEGMENT_SIZE, 4) => return (at + 4 <= end).then_some(at + 2),
                    (_, 0 | 1) => return None,
                    _ => at += length,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv4Header, TcpHeader, TcpOptionElement};
    use proptest::prelude::*;

    /// A segment with these options and its right checksum.
    fn segment(ip: &Ipv4Header, options: &[u8], syn: bool, data: &[u8]) -> Vec<u8> {
        let mut tcp = TcpHeader::new(1000, 2000, 7, 8000);
        tcp.syn = syn;
        tcp.set_options_raw(options).expect("at most 40 bytes");
        tcp.checksum = tcp.calc_checksum_ipv4(ip, data).expect("short");
        [&tcp.to_bytes()[..], data].concat()
    }

    fn checksum_is_right(ip: &Ipv4Header, bytes: &[u8]) -> bool {
        let (tcp, data) = TcpHeader::from_slice(bytes).expect("a TCP header");
        tcp.checksum == tcp.calc_checksum_ipv4(ip, data).expect("short")
    }

    fn announced(bytes: &[u8]) -> Option<u16> {
        let (tcp, _) = TcpHeader::from_slice(bytes).expect("a TCP header");
        tcp.options_iterator().find_map(|option| match option {
            Ok(TcpOptionElement::MaximumSegmentSize(size)) => Some(size),
            _ => None,
        })
    }

    fn ip() -> Ipv4Header {
        Ipv4Header::new(60, 64, etherparse::IpNumber::TCP, [192, 0, 2, 1], [192, 0, 2, 2]).expect("short")
    }

    #[test]
    fn an_announced_size_is_lowered_wherever_it_stands_and_the_checksum_follows() {
        for before in [&[][..], &[1], &[1, 1], &[4, 2], &[3, 3, 7], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1]] {
            let options = [before, &[2, 4, 0x23, 0x00], &[1; 3][..(4 - before.len() % 4) % 4]].concat();
            for data in [&[][..], &[7; 33]] {
                let mut bytes = segment(&ip(), &options, true, data);
                assert!(clamp_segment_size(&mut bytes, 1400), "{options:?}");
                assert_eq!(announced(&bytes), Some(1400));
                assert!(checksum_is_right(&ip(), &bytes), "{options:?}");
                assert!(!clamp_segment_size(&mut bytes, 1400), "it is low enough");
            }
        }
    }

    #[test]
    fn what_announces_nothing_too_large_stays_as_it_is() {
        let rows: [(&str, &[u8], bool); 6] = [
            ("no SYN", &[2, 4, 0x23, 0], false),
            ("low enough", &[2, 4, 5, 0], true),
            ("no options", &[], true),
            ("another option", &[4, 2, 1, 1], true),
            ("an end before it", &[0, 2, 4, 0x23, 0, 0, 0, 0], true),
            ("a length of zero", &[9, 0, 2, 4, 0x23, 0, 0, 0], true),
        ];
        for (what, options, syn) in rows {
            let bytes = segment(&ip(), options, syn, &[]);
            let mut clamped = bytes.clone();
            assert!(!clamp_segment_size(&mut clamped, 1400), "{what}");
            assert_eq!(clamped, bytes, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length_and_a_right_checksum_stays_right(
            options in prop::collection::vec(any::<u8>(), 0..=10).prop_map(|words| words.repeat(4)),
            limit in 1..2000_u16,
            cut in 0..80_usize,
        ) {
            let mut bytes = segment(&ip(), &options, true, &[5; 9]);
            if clamp_segment_size(&mut bytes, limit) {
                prop_assert!(checksum_is_right(&ip(), &bytes));
            }
            bytes.truncate(cut);
            let _ = clamp_segment_size(&mut bytes, limit);
            prop_assert_eq!(bytes.len(), cut.min(bytes.len()));
        }
    }
}
