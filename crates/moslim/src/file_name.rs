//! Names that people give as names of files.

/// A name as that of a file or folder, another for every name: what a name of a file cannot have everywhere is written as `%2F`.
pub(crate) fn file_name(name: &str) -> String {
    let is_plain = |place: usize, char: char| match char {
        '.' => place > 0,
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%' => false,
        char => !char.is_control(),
    };
    let mut written = String::with_capacity(name.len());
    for (place, char) in name.char_indices() {
        match is_plain(place, char) {
            true => written.push(char),
            false => written.extend(char.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}"))),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder_and_apart_from_others() {
        let found =
            ["fine-tuned first", "a/b", "a%2Fb", "..", "v1.5", "Höflichkeit", "50 %\n"].map(file_name);
        let expected = ["fine-tuned first", "a%2Fb", "a%252Fb", "%2E.", "v1.5", "Höflichkeit", "50 %25%0A"];
        assert_eq!(found, expected);
    }
}
