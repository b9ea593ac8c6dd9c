//! The turn of one connection: all steps of its request's life that need no wait.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::base_server::{
    BaseServer, Prepared, begin_service, end_service, guarded, prepare_now, process_request_thread,
};
use crate::mix_ins::reactor::core::Core;
use crate::mix_ins::reactor::places::{Occupant, Place, Stage};
use crate::mix_ins::reactor::readiness::Edge;
use crate::requests::parking::{Buffers, Turn, WaitForMore};
use crate::requests::request::Request;
use crate::running::stoppers::Serves;
use crate::support::lock::lock;
use crate::transport::waits::blocking;
use crate::values::error::{HandlerError, HandlerResult, run_step};

/// The state of a connection after its turn.
enum Next {
    /// The connection is parked, at most until this time.
    Park(Option<Instant>),
    /// The connection has another turn, after the others.
    Again,
    /// The handler has ended, or a step before it has failed.
    Ended(HandlerResult),
    /// The connection is closed without a handler.
    Close,
}

/// Gives a connection a turn.
pub(super) fn take_turn<T: BaseServer>(
    core: &Arc<Core<T::Request>>,
    top: &Arc<T>,
    place: &Arc<Place<T::Request>>,
    buffers: &mut Buffers,
) {
    let mut guard = lock(&place.occupant);
    let Some(occupant) = &mut *guard else {
        return;
    };
    let edge = place.readiness.take_edge();
    let _serves = Serves::request_of(top.layer_handle().shared().stoppers());
    if occupant.stage == Stage::New && !may_park(place.token, occupant) {
        // The request arrived complete, or the reactor cannot wait for its client.
        let request = guard.take().map(|occupant| occupant.request);
        drop(guard);
        if let Some(mut request) = request {
            if request.as_parking().is_some() {
                blocking(|| process_request_thread(top, request));
            } else {
                process_request_thread(top, request);
            }
        }
        core.crew.leave(place.token);
        return;
    }
    if edge == Edge::End
        && let Some(parking) = occupant.request.as_parking()
    {
        parking.note_end();
    }
    let next = run_step_of(|| advance(top, occupant, edge.is_something(), buffers));
    let next = match next {
        Next::Park(due) => match register(core, place, occupant) {
            Ok(()) => {
                core.crew.set_timer(place.token, &mut occupant.timer, due);
                drop(guard);
                if !place.readiness.park() {
                    core.crew.push(place.clone());
                }
                return;
            }
            Err(error) => {
                let text = format!("cannot wait for the client: {error}");
                Next::Ended(Err(text.into()))
            }
        },
        Next::Again => {
            drop(guard);
            core.crew.push(place.clone());
            return;
        }
        ended => ended,
    };
    let Some(Occupant { request, timer, .. }) = guard.take() else {
        return;
    };
    drop(guard);
    if let Some(set) = timer.and_then(|timer| timer.set) {
        core.crew.timers().remove(set, place.token);
    }
    match next {
        Next::Ended(finished) => end_service(top, request, &finished),
        _ => guarded(top).shutdown_request(request),
    }
    core.crew.leave(place.token);
}

/// Lets the request keep its handler, if the reactor can wait for its client.
fn may_park<R: Request>(token: u64, occupant: &mut Occupant<R>) -> bool {
    let Some(parking) = occupant.request.as_parking() else {
        return false;
    };
    if parking.readiness().is_none() {
        return false;
    }
    parking.begin(token);
    true
}

/// Registers the descriptor, once.
fn register<R: Request>(
    core: &Arc<Core<R>>,
    place: &Arc<Place<R>>,
    occupant: &mut Occupant<R>,
) -> io::Result<()> {
    if occupant.registered {
        return Ok(());
    }
    let parking = occupant.request.as_parking();
    let descriptor = parking.as_ref().and_then(|parking| parking.readiness());
    let Some(descriptor) = descriptor else {
        return Err(io::Error::other("its stream has no descriptor"));
    };
    core.crew.poller().register(descriptor, place.token)?;
    occupant.registered = true;
    Ok(())
}

/// Runs a step of the connection. A panic of a layer's stream ends the connection.
fn run_step_of(advance: impl FnOnce() -> Next) -> Next {
    let mut next = Next::Close;
    match run_step(|| {
        next = advance();
        Ok(())
    }) {
        Ok(()) => next,
        Err(panic) => Next::Ended(Err(panic)),
    }
}

/// Serves the bytes that have arrived.
fn advance<T: BaseServer>(
    top: &Arc<T>,
    occupant: &mut Occupant<T::Request>,
    look: bool,
    buffers: &mut Buffers,
) -> Next {
    let mut is_woken = true;
    if occupant.stage == Stage::New {
        if !begin_service(top, &mut occupant.request) {
            return Next::Close;
        }
        occupant.stage = Stage::Preparing;
        is_woken = false;
    }
    if occupant.stage == Stage::Preparing {
        match prepare(top, &mut occupant.request, is_woken) {
            Ok(Preparing::Ready) => {}
            Ok(Preparing::Waits(until)) => return Next::Park(until),
            Ok(Preparing::Close) => return Next::Close,
            Err(error) => return Next::Ended(Err(error)),
        }
        occupant.stage = Stage::Serving;
        if let Err(error) = run_step(|| top.finish_request(&mut occupant.request)) {
            return Next::Ended(Err(error));
        }
        return exchange(&mut occupant.request, true, buffers);
    }
    if let Some(parking) = occupant.request.as_parking() {
        parking.unpark();
    }
    exchange(&mut occupant.request, look, buffers)
}

enum Preparing {
    Ready,
    Waits(Option<Instant>),
    Close,
}

/// Makes step 4, as far as it needs no wait. `is_woken` is true if the layers were waiting for
/// bytes.
fn prepare<T: BaseServer>(
    top: &Arc<T>,
    request: &mut T::Request,
    mut is_woken: bool,
) -> Result<Preparing, HandlerError> {
    let mut until = None;
    loop {
        if is_woken {
            let Some(parking) = request.as_parking() else {
                return Ok(Preparing::Close);
            };
            match parking.end_wait_for_more()? {
                None => return Ok(Preparing::Waits(until)),
                Some(true) => {}
                Some(false) => {
                    request.guard_mut().abort_idle();
                    return Ok(Preparing::Close);
                }
            }
        }
        match prepare_now(top, request)? {
            Some(Prepared::ToServe) => return Ok(Preparing::Ready),
            Some(Prepared::ToClose) => return Ok(Preparing::Close),
            None => {}
        }
        let Some(parking) = request.as_parking() else {
            return Ok(Preparing::Close);
        };
        match parking.begin_wait_for_more()? {
            WaitForMore::Arrived => is_woken = false,
            // Calls the hook once more, because bytes that came before this wait cause no event.
            WaitForMore::Park(at) => (until, is_woken) = (at, true),
            WaitForMore::Draining => {
                request.guard_mut().abort_idle();
                return Ok(Preparing::Close);
            }
        }
    }
}

/// Serves the messages that have arrived, and parks the connection if there are no more.
fn exchange<R: Request>(request: &mut R, mut look: bool, buffers: &mut Buffers) -> Next {
    let Some(parking) = request.as_parking() else {
        return Next::Close;
    };
    loop {
        match parking.turn(look, buffers) {
            Turn::Again => return Next::Again,
            Turn::Ended(finished) => return Next::Ended(finished),
            Turn::Silent => match parking.park() {
                Ok(due) => return Next::Park(due),
                // The last look: messages that have arrived are served, and the connection waits
                // for no more.
                Err(_) => look = true,
            },
        }
    }
}
