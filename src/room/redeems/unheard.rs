//! Redeems whose outcome nobody heard, settled: PostgreSQL is asked what became of them until it answers.

use super::Redeems;
use crate::{
    limits::FENCE,
    store::{
        bookings::{NewBooking, Outcome},
        errors::StoreError,
        line::{Committed, Fence, Told},
    },
};
use std::sync::Arc;
use tokio::sync::Mutex;
use wire::domain::ids::{GrantKey, VisitorId};

impl Redeems {
    /// Those whose commit PostgreSQL never answered. Until it does their grants stay fenced, if they still are, and right
    /// after that they may be spent again.
    pub(super) fn settle_unheard(self: &Arc<Self>, batch: Vec<(NewBooking, Fence)>) {
        let (batch, fences): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let (this, batch, fences) = (self.clone(), Arc::new(batch), Arc::new(Mutex::new(fences)));
        self.outbox.post("redeems that nobody heard of", move || {
            let (this, batch, fences) = (this.clone(), batch.clone(), fences.clone());
            async move {
                let mut fences = fences.lock().await;
                let renewed = this.store.renew(FENCE.as_millis() as u64, &mut fences).await;
                let outcomes = this.bookings.settle(&batch).await?;
                renewed?;
                let told: Vec<_> = batch.iter().zip(outcomes).filter_map(booked).collect();
                this.store.bookings(&told, &fences).await
            }
        });
    }

    /// Those whose instance has ended: a void row makes sure that what has not booked never will. The next tick then
    /// lapses the grant.
    pub(in crate::room) fn settle_expired(self: &Arc<Self>, expired: Vec<(VisitorId, GrantKey)>) {
        if expired.is_empty() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            // Every tick names those that are left: one at a time is enough.
            let Ok(_alone) = this.settling.try_lock() else { return };
            if let Err(error) = this.void(&expired).await {
                tracing::warn!(sale = %this.sale.id, "unheard redeems are settled later: {error}");
            }
        });
    }

    /// Makes sure that what these turns have not booked they never will.
    pub(in crate::room) async fn void(&self, turns: &[(VisitorId, GrantKey)]) -> Result<(), StoreError> {
        let booked = self.bookings.void(turns).await?;
        let (mut told, mut fallen) = (Vec::new(), Vec::new());
        for (visitor, grant) in turns {
            match booked.get(&grant.grant_id(&self.sale.id)) {
                Some(record) => {
                    told.push(Told::Booking(Committed::of(visitor, Some(*grant), &record.booking)));
                }
                None => fallen.push(Fence { visitor: visitor.clone(), until_ms: Fence::OF_VOID }),
            }
        }
        self.store.bookings(&told, &fallen).await
    }
}

fn booked((new, outcome): (&NewBooking, Outcome)) -> Option<Told> {
    let Outcome::Booked(booking) = outcome else { return None };
    Some(Told::Booking(Committed::of(&new.visitor, Some(new.grant), &booking)))
}
