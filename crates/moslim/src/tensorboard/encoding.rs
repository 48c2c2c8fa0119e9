//! Records and the few Protocol Buffers messages in them.
//!
//! Field numbers are those of TensorBoard's [`event.proto`], [`summary.proto`] and [`tensor.proto`].
//! Fields stand in ascending order and plain fields that are zero are left out, as Protocol Buffers' own writers do.
//!
//! [`event.proto`]: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
//! [`summary.proto`]: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/summary.proto
//! [`tensor.proto`]: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/tensor.proto

/// The format's version, which is the first event of every file.
const FILE_VERSION: &[u8] = b"brain.Event:2";

/// `DataType.DT_STRING`.
const STRING: u64 = 7;

/// `DataClass.DATA_CLASS_TENSOR`.
const TENSOR: u64 = 2;

/// An event between its lengths and checksums, all little-endian.
pub(super) fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked_crc(&length), event, &masked_crc(event)];
    parts.concat()
}

/// The event that a file begins with.
pub(super) fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time);
    event.bytes(3, FILE_VERSION);
    event.0
}

/// An event with the numbers of a step.
pub(super) fn scalar_event<'a>(
    step: i64,
    wall_time: f64,
    scalars: impl Iterator<Item = (&'a str, f32)>,
) -> Vec<u8> {
    let values = scalars.map(|(tag, value)| {
        let mut message = Message::default();
        message.bytes(1, tag.as_bytes());
        message.float(2, value);
        message
    });
    summary_event(step, wall_time, values)
}

/// An event with texts of a step.
pub(super) fn text_event<'a>(
    step: i64,
    wall_time: f64,
    texts: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let values = texts.map(|(tag, text)| {
        let mut message = Message::default();
        message.bytes(1, tag.as_bytes());
        message.bytes(8, &text_tensor(text).0);
        message.bytes(9, &text_metadata().0);
        message
    });
    summary_event(step, wall_time, values)
}

fn summary_event(step: i64, wall_time: f64, values: impl Iterator<Item = Message>) -> Vec<u8> {
    let mut summary = Message::default();
    for value in values {
        summary.bytes(1, &value.0);
    }
    let mut event = Message::default();
    event.double(1, wall_time);
    // Protocol Buffers write a negative int64 as its two's complement.
    event.integer(2, step.cast_unsigned());
    event.bytes(5, &summary.0);
    event.0
}

/// A string as a tensor without axes.
fn text_tensor(text: &str) -> Message {
    let mut tensor = Message::default();
    tensor.integer(1, STRING);
    tensor.bytes(2, &[]);
    tensor.bytes(8, text.as_bytes());
    tensor
}

/// What makes a tensor belong to the text dashboard.
fn text_metadata() -> Message {
    let mut plugin = Message::default();
    plugin.bytes(1, b"text");
    let mut metadata = Message::default();
    metadata.bytes(1, &plugin.0);
    metadata.integer(4, TENSOR);
    metadata
}

/// The checksum of a record, changed so that the checksum of text with checksums in it is no special case.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A message as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    const VARINT: u64 = 0;
    const FIXED64: u64 = 1;
    const LENGTH_DELIMITED: u64 = 2;
    const FIXED32: u64 = 5;

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    /// Seven bits per byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn integer(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.key(field, Self::VARINT);
            self.varint(value);
        }
    }

    fn double(&mut self, field: u64, value: f64) {
        if value.to_bits() != 0 {
            self.key(field, Self::FIXED64);
            self.0.extend(value.to_le_bytes());
        }
    }

    /// Of a union, hence written when it is zero, too.
    fn float(&mut self, field: u64, value: f32) {
        self.key(field, Self::FIXED32);
        self.0.extend(value.to_le_bytes());
    }

    /// Text, bytes, or a message.
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, Self::LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}
