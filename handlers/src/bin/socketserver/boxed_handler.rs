//! A handler whose type is known at run time only.

use std::fmt;

use socketserver::{HandlerResult, RequestHandler};

/// Makes a handler for each request.
pub type Factory<R> = Box<dyn Fn() -> BoxedHandler<R> + Send + Sync>;

/// Any handler of a request `R`, so that one server type serves every entry of the registry.
pub struct BoxedHandler<R>(Box<dyn RequestHandler<R>>);

impl<R> BoxedHandler<R> {
    pub fn new(handler: impl RequestHandler<R> + 'static) -> Self {
        Self(Box::new(handler))
    }
}

impl<R> RequestHandler<R> for BoxedHandler<R> {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        self.0.setup(request)
    }

    fn handle(&mut self, request: &mut R) -> HandlerResult {
        self.0.handle(request)
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        self.0.finish(request)
    }
}

impl<R> fmt::Debug for BoxedHandler<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedHandler").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use socketserver::StreamRequest;
    use socketserver::mock::MockStream;

    use super::*;

    /// Sends the names of its steps as they run.
    struct Steps;

    impl RequestHandler for Steps {
        fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
            Ok(request.write_all(b"setup ")?)
        }

        fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
            Ok(request.write_all(b"handle ")?)
        }

        fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
            Ok(request.write_all(b"finish")?)
        }
    }

    #[test]
    fn every_step_of_the_handler_in_the_box_runs() {
        let recording = MockStream::new().run(BoxedHandler::new(Steps));
        assert_eq!(recording.written(), b"setup handle finish");
    }
}
