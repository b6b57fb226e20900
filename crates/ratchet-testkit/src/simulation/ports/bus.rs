use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::{BusError, Envelope, Event, EventBus};

use crate::simulation::{
    executor::Delivery,
    trace::brief,
    world::{HOUR, MINUTE, SECOND, Shared, Timer, World, lock, moment, pause},
};

/// Events that come late, twice, out of order or not at all.
pub(crate) struct SimulatedBus(pub(crate) Shared);

#[async_trait]
impl EventBus for SimulatedBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        self.send(envelope, None).await
    }

    async fn publish_at(&self, envelope: Envelope, at: Timestamp) -> Result<(), BusError> {
        self.send(envelope, Some(at)).await
    }
}

impl SimulatedBus {
    async fn send(&self, envelope: Envelope, at: Option<Timestamp>) -> Result<(), BusError> {
        pause(&self.0).await;
        if let (Event::StepReady { epoch, path, .. }, Some(_)) = (&envelope.event, at) {
            let key = StepKey { execution: envelope.execution.clone(), epoch: *epoch, path: path.clone() };
            lock(&self.0).laws.put_off(&key);
        }
        {
            let mut world = lock(&self.0);
            let rate = world.faults.bus_unavailable;
            if world.random.chance(rate) {
                world.say(|| format!("bus: refuses {}", brief(&envelope.event)));
                return Err(BusError::Unavailable("the bus does not answer".to_owned()));
            }
            send(&mut world, &envelope, at);
        }
        pause(&self.0).await;
        Ok(())
    }
}

/// Puts an event on its way, as often as the faults say. A report that is on its way is counted.
pub(crate) fn send(world: &mut World, envelope: &Envelope, at: Option<Timestamp>) {
    let (lost, repeated) = (world.faults.event_lost, world.faults.event_repeated);
    let is_report = matches!(envelope.event, Event::StepFinished(_));
    let is_silent = if is_report { world.faults.reports_silent } else { world.faults.events_silent };
    if is_silent || world.random.chance(lost) {
        world.say(|| format!("bus: loses {}", brief(&envelope.event)));
        return;
    }
    let mut copies = 1;
    while copies < 4 && world.random.chance(repeated) {
        copies += 1;
    }
    for copy in 0..copies {
        let not_before = at.map_or(0, |at| (moment(at) - world.now - world.skew).max(0));
        let wait = not_before + delay(world, copy > 0);
        if let Event::StepFinished(report) = &envelope.event
            && let Some(task) = world.tasks.by_name.get_mut(&(report.key.clone(), report.attempt))
        {
            task.in_flight += 1;
        }
        world.after(wait, Timer::Deliver(Box::new(Delivery { envelope: envelope.clone(), tries: 0 })));
    }
}

fn delay(world: &mut World, is_copy: bool) -> i64 {
    let late = world.faults.event_late;
    if world.random.chance(late) {
        return if world.random.chance(100) {
            world.random.between(MINUTE, 3 * HOUR)
        } else {
            world.random.between(0, 5 * MINUTE)
        };
    }
    world.random.between(0, if is_copy { 2 * SECOND } else { 20 })
}
