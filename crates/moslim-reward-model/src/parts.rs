//! Many answers in parts of similar length.

use burn::tensor::Device;
use moslim_lm::{Exchange, in_parallel};

/// Answers read together at most; the parts do not depend on the number of cores.
const MOST_ROWS: usize = 64;

/// Tokens read together at most, padding included, unless a single answer is longer.
const MOST_CELLS: usize = 8192;

/// Applies `work` to parts of the answers, and returns its results in the order of the answers.
///
/// Answers of similar length stand together, so that little is read for padding; those to one prompt that follow each other stay
/// neighbours, so that they share its reading.
pub(crate) fn in_parts<R: Send>(
    device: &Device,
    answers: &[Exchange<'_>],
    work: impl Fn(&[Exchange<'_>]) -> Vec<R> + Sync,
) -> Vec<R> {
    let parts = parts(answers);
    let rows_of = |part: &Vec<usize>| part.iter().map(|&row| answers[row]).collect::<Vec<Exchange<'_>>>();
    let results = in_parallel(device, parts.iter().map(rows_of).collect(), |part| work(&part));
    let mut numbered: Vec<(usize, R)> =
        parts.into_iter().flatten().zip(results.into_iter().flatten()).collect();
    numbered.sort_by_key(|(row, _)| *row);
    numbered.into_iter().map(|(_, result)| result).collect()
}

/// The numbers of the answers of every part.
fn parts(answers: &[Exchange<'_>]) -> Vec<Vec<usize>> {
    let length = |row: usize| answers[row].prompt.len() + answers[row].response.len();
    let numbers: Vec<usize> = (0..answers.len()).collect();
    let of_one_prompt = numbers.chunk_by(|&a, &b| answers[a].prompt == answers[b].prompt);
    let mut siblings: Vec<&[usize]> = of_one_prompt.flat_map(|rows| rows.chunks(MOST_ROWS)).collect();
    let longest = |rows: &[usize]| rows.iter().map(|&row| length(row)).max().unwrap_or(0);
    siblings.sort_by_key(|rows| longest(rows));
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for rows in siblings {
        // The last ones are the longest.
        let fits = |part: &Vec<usize>| {
            let n = part.len() + rows.len();
            n <= MOST_ROWS && n * longest(rows) <= MOST_CELLS
        };
        match parts.last_mut().filter(|part| fits(part)) {
            Some(part) => part.extend(rows),
            None => parts.push(rows.to_vec()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_similar_length_are_read_together_and_come_back_in_their_order() {
        let tokens = [7; 5000];
        let lengths = [4000, 3, 4001, 2, 5000];
        let answers: Vec<Exchange<'_>> = (0..5)
            .map(|row| Exchange { prompt: &tokens[..row + 1], response: &tokens[..lengths[row]] })
            .collect();
        // 2 · 4004 cells are as many as fit, the longest does not.
        assert_eq!(parts(&answers), [vec![1, 3], vec![0, 2], vec![4]]);
        let found = in_parts(&Device::default(), &answers, |part| {
            part.iter().map(|answer| answer.response.len()).collect()
        });
        assert_eq!(found, lengths);
    }

    #[test]
    fn answers_to_one_prompt_stay_together() {
        let (one, other, response) = ([1], [2], [7; 300]);
        let mut answers = vec![Exchange { prompt: &one, response: &response[..5] }; 3];
        answers.insert(0, Exchange { prompt: &other, response: &response[..4] });
        answers.push(Exchange { prompt: &other, response: &response[..1] });
        answers[2].response = &response;
        assert_eq!(parts(&answers), [[4, 0, 1, 2, 3]]);
        let many = vec![Exchange { prompt: &one, response: &response[..5] }; 130];
        assert_eq!(parts(&many).iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 2]);
        assert!(parts(&[]).is_empty());
    }
}
