//! Parts of lists.

use serde::{Deserialize, Serialize};

/// The most items of one page.
pub const MAX_PAGE: usize = 10_000;

/// How many items a page has where the request does not say.
pub const DEFAULT_PAGE: usize = 1000;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// How many items there are that match the request.
    pub total: usize,
    /// How many of them come before this page.
    pub offset: usize,
    /// The items of this page.
    pub items: Vec<T>,
}

impl<T> Page<T> {
    /// The part of `matching` that `range` asks for.
    #[must_use]
    pub fn cut(matching: impl IntoIterator<Item = T>, range: PageRange) -> Self {
        let (mut total, mut items) = (0, Vec::new());
        for item in matching {
            if total >= range.offset && items.len() < range.limit {
                items.push(item);
            }
            total += 1;
        }
        Self { total, offset: range.offset, items }
    }

    /// The page with each item made into something else.
    #[must_use]
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { total: self.total, offset: self.offset, items: self.items.into_iter().map(make).collect() }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The most items to give, 0 to [`MAX_PAGE`].
    pub limit: usize,
    /// How many to leave out first.
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_and_knows_the_total() {
        let page = Page::cut(0..10, PageRange { limit: 3, offset: 8 });
        assert_eq!((page.total, page.offset, page.items), (10, 8, vec![8, 9]));
        let page = Page::cut(0..10, PageRange { limit: 2, offset: 1 });
        assert_eq!((page.total, page.items), (10, vec![1, 2]));
    }
}
