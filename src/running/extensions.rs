//! The values that layers keep with a request.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

/// Values that layers keep with one request, at most one of each type.
///
/// A layer keeps the progress of its [`prepare_request`](crate::BaseServer::prepare_request) here,
/// since that hook may be called several times. A handler finds here what a layer has learnt about
/// the connection. A request without extensions costs one empty pointer. In Python, a handler class
/// or the server has attributes for this.
///
/// ```
/// use socketserver::mock::MockStream;
///
/// /// A layer's own type, which no other layer has.
/// #[derive(Debug, PartialEq)]
/// struct UserName(String);
///
/// let (mut request, _) = MockStream::new().into_request();
/// request.extensions_mut().insert(UserName("grace".to_owned()));
/// let name = request.extensions().get::<UserName>();
/// assert_eq!(name, Some(&UserName("grace".to_owned())));
/// ```
#[derive(Default)]
pub struct Extensions(Option<Box<Values>>);

type Values = HashMap<TypeId, Box<dyn Any + Send + Sync>>;

impl Extensions {
    /// Keeps `value`, and returns the earlier value of the same type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let values = self.0.get_or_insert_default();
        let before = values.insert(TypeId::of::<T>(), Box::new(value));
        before.and_then(|value| value.downcast().ok().map(|value| *value))
    }

    /// Returns the value of type `T`, if there is one.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_ref()?.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// Returns the value of type `T` to change it, if there is one.
    #[must_use]
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }

    /// Removes and returns the value of type `T`, if there is one.
    pub fn remove<T: 'static>(&mut self) -> Option<T> {
        let value = self.0.as_mut()?.remove(&TypeId::of::<T>())?;
        value.downcast().ok().map(|value| *value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |values| values.len());
        f.debug_struct("Extensions")
            .field("values", &count)
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_and_replaced_by_the_next_of_that_type() {
        let mut extensions = Extensions::default();
        assert_eq!(extensions.get::<u8>(), None);
        assert_eq!(extensions.insert(1_u8), None);
        assert_eq!(extensions.insert("text"), None);
        assert_eq!(extensions.insert(2_u8), Some(1));
        *extensions.get_mut::<u8>().unwrap() += 1;
        assert_eq!(extensions.get(), Some(&3_u8));
        assert_eq!(extensions.remove::<u8>(), Some(3));
        assert_eq!(extensions.get::<u8>(), None);
        assert_eq!(extensions.get(), Some(&"text"));
    }
}
