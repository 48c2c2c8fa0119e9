use std::io::Read;
use std::ops::Deref;
use std::path::PathBuf;

use super::*;

/// Records as TensorBoard's own writer makes them: a version, three events with numbers, one with a text.
///
/// `golden.py` printed it.
const GOLDEN: &str = include_str!("golden.hex");

const BEGUN: f64 = 1_785_888_000.25;

fn golden() -> Vec<Vec<u8>> {
    let byte = |line: &str, at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    GOLDEN.lines().map(|line| (0..line.len()).step_by(2).map(|at| byte(line, at)).collect()).collect()
}

/// A folder of its own for a test, not there yet, gone afterwards.
struct Folder(PathBuf);

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn folder(test: &str) -> Folder {
    Folder(std::env::temp_dir().join(format!("watchkit-{}-{test}", std::process::id())))
}

fn named(scalars: &[(&str, f32)]) -> Vec<(String, f32)> {
    scalars.iter().map(|&(tag, value)| (tag.into(), value)).collect()
}

/// The golden records' first two steps; the second has a step of two bytes and an infinity.
fn first_lines() -> [EventLine; 2] {
    [
        (0, BEGUN, named(&[("objective/kl", 0.0), ("lr", 3e-6)])),
        (300, BEGUN + 1.25, named(&[("objective/scores", -0.418_216_56), ("grad_norm", f32::INFINITY)])),
    ]
}

#[test]
fn bytes_are_those_of_tensorboards_writer() {
    let folder = folder("golden");
    let mut file = EventFile::rewrite(&folder, first_lines()).unwrap();
    file.push(-1, 0.0, &[("x", f32::NAN)]).unwrap();
    let text = format!("héllo **world**\n{}", "ab".repeat(60));
    file.push_texts(300, BEGUN + 1.75, &[("completions/sample", &text)]).unwrap();
    let expected = golden();
    assert_eq!(expected.len(), 5);
    assert_eq!(fs::read(folder.join(EVENT_FILE)).unwrap(), expected.concat());
}

#[test]
fn a_run_taken_up_again_drops_what_came_after_its_checkpoint_and_goes_on() {
    let folder = folder("resume");
    let [first, second] = first_lines();
    let mut file = EventFile::rewrite(&folder, [first.clone()]).unwrap();
    file.push(1, BEGUN + 0.5, &[("objective/kl", 9.0)]).unwrap();
    let (step, wall_time, scalars) = second;
    let scalars: Vec<(&str, f32)> = scalars.iter().map(|(tag, value)| (tag.as_str(), *value)).collect();
    EventFile::rewrite(&folder, [first]).unwrap().push(step, wall_time, &scalars).unwrap();
    assert_eq!(fs::read(folder.join(EVENT_FILE)).unwrap(), golden()[..3].concat());
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 1, "nothing else is left");
}

/// What a program that reads the file while it grows has open.
#[test]
fn a_file_that_begins_with_the_lines_of_the_checkpoint_is_cut_off_in_place() {
    let folder = folder("cut");
    let line = |step: i64, kl| (step, BEGUN, named(&[("objective/kl", kl)]));
    let mut file = EventFile::rewrite(&folder, []).unwrap();
    let mut open = File::open(folder.join(EVENT_FILE)).unwrap();
    for step in 1..=5 {
        file.push(step, BEGUN, &[("objective/kl", 2.0)]).unwrap();
    }
    let whole = fs::read(folder.join(EVENT_FILE)).unwrap();
    let mut file = EventFile::rewrite(&folder, [line(1, 2.0), line(2, 2.0)]).unwrap();
    for step in 3..=5 {
        file.push(step, BEGUN, &[("objective/kl", 2.0)]).unwrap();
    }
    let mut seen = vec![];
    open.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, whole);
    EventFile::rewrite(&folder, [line(1, 3.0)]).unwrap();
    assert_eq!(open.metadata().unwrap().len(), whole.len() as u64, "other lines, another file");
    assert!(fs::metadata(folder.join(EVENT_FILE)).unwrap().len() < whole.len() as u64);
}

#[test]
fn a_new_file_replaces_an_old_one_and_every_push_is_on_disk_at_once() {
    let folder = folder("create");
    EventFile::rewrite(&folder, first_lines()).unwrap();
    let mut file = EventFile::rewrite(&folder, []).unwrap();
    let length = || fs::metadata(folder.join(EVENT_FILE)).unwrap().len();
    let version = length();
    assert_eq!(version, golden()[0].len() as u64);
    file.push(0, BEGUN, &[("objective/kl", 0.0), ("lr", 3e-6)]).unwrap();
    assert_eq!(length(), version + golden()[1].len() as u64);
    file.push(1, BEGUN, &[]).unwrap();
    file.push_texts(1, BEGUN, &[]).unwrap();
    assert_eq!(length(), version + golden()[1].len() as u64, "nothing to say, nothing written");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let parent = folder("error");
    fs::create_dir_all(parent.join("run").join(EVENT_FILE).join("in the way")).unwrap();
    assert!(EventFile::rewrite(&parent.join("run"), []).is_err());
    assert_eq!(fs::read_dir(parent.join("run")).unwrap().count(), 1, "the unfinished file is gone");
    fs::write(parent.join("file"), "").unwrap();
    assert!(EventFile::rewrite(&parent.join("file"), []).is_err());
}
