//! Rows of files in every layout and compression, and files that are damaged.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use moslim_data::read_rows;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The rows of a file with its name cut from their places, errors as texts.
fn rows(path: &Path) -> Vec<(String, Result<Value, String>)> {
    let mut found = Vec::new();
    read_rows(path, |place, row| {
        let place = place.to_string().replace(&path.display().to_string(), "");
        found.push((place, row.map(Value::from).map_err(|error| error.to_string())));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn rows_of(name: &str, bytes: &[u8]) -> Vec<(String, Result<Value, String>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    rows(&path)
}

fn at(place: &str, row: Value) -> (String, Result<Value, String>) {
    (place.into(), Ok(row))
}

#[test]
fn lines_with_a_mark_windows_ends_blank_lines_and_a_long_one() {
    let long = "x".repeat(1 << 20);
    let text = format!("\u{feff}{{\"a\": \"🦀\"}}\r\n\r\n  \n{{\"a\": \"{long}\"}}\nnonsense\n[1]");
    let found = rows_of("a.jsonl", text.as_bytes());
    assert_eq!(found[0], at(":1", json!({"a": "🦀"})));
    assert_eq!(found[1], at(":4", json!({"a": long})));
    assert_eq!(found[2], (":5".into(), Err("bad JSON at column 2: expected ident".into())));
    assert_eq!(found[3..], [at(":6", json!([1]))]);
}

#[test]
fn a_document_is_a_list_of_rows_or_one() {
    let list = rows_of("a.json", b"\xef\xbb\xbf[{\"a\": 1}, {\"a\": [2]}]\n");
    assert_eq!(list, [at(": row 1", json!({"a": 1})), at(": row 2", json!({"a": [2]}))]);
    assert_eq!(rows_of("a.json", b"{\"a\": {\"b\": 1}}"), [at(": row 1", json!({"a": {"b": 1}}))]);
    assert_eq!(rows_of("a.json", b"[]"), []);
    let broken = rows_of("a.json", b"[{\"a\": 1}, {\"a\": ");
    assert_eq!(broken[0], at(": row 1", json!({"a": 1})));
    let problem = broken[1].1.as_ref().unwrap_err();
    assert!(broken[1].0 == ": row 2" && problem.contains("EOF while parsing"), "{broken:?}");
    assert!(rows_of("a.json", b"3")[0].1.as_ref().unwrap_err().contains("expected a list of rows"));
    assert!(rows_of("a.json", b"[1] 2")[1].1.as_ref().unwrap_err().contains("trailing characters"));
    assert!(rows_of("a.json", b"")[0].1.is_err());
}

#[test]
fn whoever_breaks_off_sees_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.json", "[1, 2, 3]"), ("a.jsonl", "1\n2\n3"), ("a.csv", "a\n1\n2\n3")] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut n = 0;
        read_rows(&path, |_, row| {
            n += 1;
            assert!(row.is_ok());
            if n == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(n, 2, "{name}");
    }
}

#[test]
fn tables_of_texts() {
    let text = b"\xef\xbb\xbfprompt,label\r\n\"Why,\nso?\",4\r\nCaf\xe9,5\r\none,two,three\r\nlast,6\r\n";
    let found = rows_of("a.csv", text);
    assert_eq!(found[0], at(":2", json!({"prompt": "Why,\nso?", "label": "4"})));
    // Latin-1, as old tables are.
    assert_eq!(found[1], at(":4", json!({"prompt": "Café", "label": "5"})));
    assert_eq!(found[2], (":5".into(), Err("bad CSV: 3 fields, expected 2".into())));
    assert_eq!(found[3..], [at(":6", json!({"prompt": "last", "label": "6"}))]);
    assert_eq!(rows_of("a.tsv", b"a\tb\n1, 2\t3\n"), [at(":2", json!({"a": "1, 2", "b": "3"}))]);
}

#[test]
fn packed_files_and_broken_ones() {
    let text = b"{\"a\": 1}\n{\"a\": 2}\n";
    let expected = [at(":1", json!({"a": 1})), at(":2", json!({"a": 2}))];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(rows_of("a.jsonl.gz", &gzip), expected);
    // Two packed files one after the other are one file.
    assert_eq!(rows_of("a.jsonl.gz", &[&gzip[..], &gzip].concat()).len(), 4);
    let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    assert_eq!(rows_of("a.jsonl.zst", &zstd), expected);
    for (name, bytes) in [("a.jsonl.gz", &gzip[..gzip.len() / 2]), ("a.jsonl.zst", &zstd[..zstd.len() / 2])] {
        let found = rows_of(name, bytes);
        assert!(found.last().unwrap().1.as_ref().unwrap_err().starts_with("cannot read: "), "{found:?}");
    }
    assert!(rows_of("a.json.zst", b"nothing of the kind")[0].1.is_err());
}

#[test]
fn parquet() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = "message rows { REQUIRED BYTE_ARRAY prompt (STRING); OPTIONAL INT64 level; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::new())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let prompts = ["Why?", "🦀"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&prompts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[4], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    assert_eq!(
        rows(&path),
        [
            at(": row 1", json!({"prompt": "Why?", "level": 4})),
            at(": row 2", json!({"prompt": "🦀", "level": null}))
        ]
    );
    let bytes = std::fs::read(&path).unwrap();
    let broken = rows_of("b.parquet", &bytes[..bytes.len() - 20]);
    assert!(broken[0].1.as_ref().unwrap_err().starts_with("bad Parquet: "), "{broken:?}");
    // Whatever byte is wrong, rows or an error come of it.
    for index in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[index] ^= flip;
            let _ = rows_of("c.parquet", &damaged);
        }
    }
}

#[test]
fn no_row_is_larger_than_memory_allows() {
    // 65 MiB of one text, which packed are 65 kB: the row that begins with it ends as an error.
    let endless = "x".repeat(65 << 20);
    for (name, begin) in [
        ("a.jsonl.gz", "{\"a\": 1}\n{\"a\": \""),
        ("a.json.gz", "[{\"a\": 1}, {\"a\": \""),
        ("a.csv.gz", "a\n1\n\""),
    ] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all([begin, &endless].concat().as_bytes()).unwrap();
        let found = rows_of(name, &gzip.finish().unwrap());
        assert!(found.len() == 2 && found[0].1.is_ok(), "{name}");
        let problem = found[1].1.as_ref().unwrap_err();
        assert!(problem.contains("of more than 67108864 bytes"), "{name}: {problem}");
    }
}

#[test]
fn files_that_cannot_be_opened_or_named() {
    let error =
        |path: &str| read_rows(Path::new(path), |_, _| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error("nowhere.jsonl").starts_with("nowhere.jsonl: cannot open: No such file"));
    for name in ["data.bin", "data", "data.gz", "data.parquet.gz"] {
        assert!(error(name).starts_with(&format!("{name}: expected a name that ends in .jsonl")), "{name}");
    }
}
