//! The common part of all streams around another stream.

/// Implements [`Stream`](socketserver::layer::Stream) for a tuple struct around a
/// `Box<dyn Stream>`. Every required method calls that of the inner stream. The test implements
/// `Read` and `Write`, in which such streams differ.
#[macro_export]
macro_rules! impl_stream_of_inner {
    ($outer:ty) => {
        impl socketserver::layer::Stream for $outer {
            fn readable_now(&mut self) -> std::io::Result<bool> {
                self.0.readable_now()
            }

            fn shutdown(&mut self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.0.shutdown(how)
            }

            fn set_timeout(&mut self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.0.set_timeout(timeout)
            }

            fn set_deadline(
                &mut self,
                deadline: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                self.0.set_deadline(deadline)
            }

            fn set_nodelay(&mut self, nodelay: bool) -> std::io::Result<()> {
                self.0.set_nodelay(nodelay)
            }

            fn readiness(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
                self.0.readiness()
            }
        }
    };
}
