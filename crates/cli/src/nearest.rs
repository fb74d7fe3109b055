//! What somebody may have meant by a word that is not known.

/// The known word that is most like this one; `None` where none is.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |known: &str| strsim::jaro_winkler(known, word);
    let best = known.into_iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    best.filter(|known| like(known) > 0.7)
}
