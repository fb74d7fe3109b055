//! Few rows for many answers, to be read from the top: the first row that fits a request holds.
//! Each row is the shortest condition under which all requests that are left have one answer.

use std::collections::{BTreeMap, BTreeSet};

/// One thing that a request can differ in.
pub struct Variable {
    /// The text of each value; for a flag "no FLAG" and "FLAG".
    pub values: Vec<String>,
}

/// One request: the index of its value for each variable, and the answer.
pub struct Point {
    /// In the order of the variables.
    pub values: Vec<usize>,
    /// One for each column.
    pub answer: Vec<String>,
}

/// A row: what fulfils the condition, and none above it, has the answer.
pub struct Row {
    /// In words.
    pub condition: String,
    /// One for each column.
    pub answer: Vec<String>,
}

/// One value of a variable, or several that make no difference to each other.
struct Literal {
    variable: usize,
    values: BTreeSet<usize>,
}

/// The answer to each combination of the other variables.
type Answers<'a> = BTreeMap<Vec<usize>, &'a [String]>;

/// The rows for these points.
///
/// # Panics
/// If two requests are alike in all variables and differ in their answer.
pub fn rows(variables: &[Variable], points: &[Point]) -> Vec<Row> {
    let literals: Vec<Literal> =
        (0..variables.len()).flat_map(|variable| classes(points, variable)).collect();
    assert!(literals.len() <= 64, "a bit for each literal");
    let mut left: Vec<(u64, &[String])> =
        points.iter().map(|point| (mask(&literals, point), point.answer.as_slice())).collect();
    let mut found = Vec::new();
    while let Some((_, first)) = left.first() {
        if left.iter().all(|(_, answer)| answer == first) {
            let condition = if found.is_empty() { "anything" } else { "everything else" };
            found.push(Row { condition: condition.into(), answer: first.to_vec() });
            break;
        }
        let condition = shortest(&literals, &left);
        let fits = |(mask, _): &(u64, _)| mask & condition == condition;
        let answer = left.iter().find(|point| fits(point)).expect("a point").1.to_vec();
        found.push(Row { condition: in_words(variables, &literals, condition), answer });
        left.retain(|point| !fits(point));
    }
    found
}

/// The values of a variable, those together that never make a difference to each other. A
/// variable that makes none at all is left out.
fn classes(points: &[Point], variable: usize) -> Vec<Literal> {
    let mut alike: BTreeMap<usize, Answers> = BTreeMap::new();
    for point in points {
        let mut others = point.values.clone();
        let value = others.remove(variable);
        alike.entry(value).or_default().insert(others, &point.answer);
    }
    let mut classes: Vec<(Answers, BTreeSet<usize>)> = Vec::new();
    for (value, answers) in alike {
        match classes.iter_mut().find(|(other, _)| *other == answers) {
            Some((_, values)) => _ = values.insert(value),
            None => classes.push((answers, BTreeSet::from([value]))),
        }
    }
    if classes.len() == 1 {
        return Vec::new();
    }
    classes.into_iter().map(|(_, values)| Literal { variable, values }).collect()
}

fn mask(literals: &[Literal], point: &Point) -> u64 {
    let holds = |literal: &Literal| literal.values.contains(&point.values[literal.variable]);
    (0..).zip(literals).map(|(bit, literal)| u64::from(holds(literal)) << bit).sum()
}

/// The condition with the fewest literals under which all points have one answer; of these the
/// one that most points fulfil, and of those the last, since a flag that is set comes after one
/// that is not and is easier to read.
fn shortest(literals: &[Literal], left: &[(u64, &[String])]) -> u64 {
    let bits: Vec<u64> = (0..literals.len()).map(|bit| 1 << bit).collect();
    let mut conditions: Vec<u64> = vec![0];
    loop {
        conditions = conditions
            .iter()
            .flat_map(|old| bits.iter().filter(|bit| **bit > *old).map(move |bit| old | bit))
            .collect();
        assert!(!conditions.is_empty(), "alike in all variables, but not in the answer");
        let covers = |condition: u64| {
            let mut fit = left.iter().filter(|(mask, _)| mask & condition == condition);
            let first = fit.next()?.1;
            let mut count = 1;
            for (_, answer) in fit {
                if *answer != first {
                    return None;
                }
                count += 1;
            }
            Some(count)
        };
        let best = conditions
            .iter()
            .filter_map(|condition| Some((covers(*condition)?, *condition)))
            .max_by_key(|(count, _)| *count);
        if let Some((_, condition)) = best {
            return condition;
        }
    }
}

fn in_words(variables: &[Variable], literals: &[Literal], condition: u64) -> String {
    let words: Vec<String> = literals
        .iter()
        .enumerate()
        .filter(|(bit, _)| condition & (1 << bit) != 0)
        .map(|(_, literal)| {
            let names = &variables[literal.variable].values;
            let values: Vec<&str> = literal.values.iter().map(|i| names[*i].as_str()).collect();
            values.join(" or ")
        })
        .collect();
    words.join(", ")
}
