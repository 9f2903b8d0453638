//! The slots of a cluster: each key belongs to one, each slot to one node.

/// A slot, 0 to 16,383. Where there is no cluster it does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u16);

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

impl Slot {
    /// Of a key: CRC16 (XMODEM) of what stands between its first braces, or of all of it.
    pub fn of(key: &str) -> Self {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
        let crc = hashed.bytes().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                (crc << 1) ^ if crc >> 15 == 1 { 0x1021 } else { 0 }
            })
        });
        Self(crc % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_redis_counts() {
        for (key, slot) in
            [("123456789", 12739), ("foo", 12182), ("a{foo}b{bar}", 12182), ("{}foo", 9500), ("", 0)]
        {
            assert_eq!(Slot::of(key), Slot(slot), "{key}");
        }
    }
}
