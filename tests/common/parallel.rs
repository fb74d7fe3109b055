//! Doing something for many items on all cores.

use std::sync::Mutex;

/// The results, in the order of the items.
pub fn each<T: Sync, R: Send>(items: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.iter().enumerate());
    let results = Mutex::new(Vec::new());
    let next = || queue.lock().expect("no panic while it is held").next();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, item)) = next() {
                    let result = act(item);
                    results.lock().expect("no panic while it is held").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("whole");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
