//! A visitor's receipt, held against journals that are his, and that are not.

use super::*;

fn held(receipt: &Receipt, items: Vec<Item>) -> Result<Held, ReceiptError<JournalError>> {
    let mut items = items.into_iter();
    hold(receipt, &sale(), || Ok(items.next()))
}

fn refusal(receipt: &Receipt, items: Vec<Item>) -> String {
    held(receipt, items).unwrap_err().to_string()
}

#[test]
fn each_place_is_found_and_told() {
    let recorded = Recorded::healthy();
    let batches = recorded.batches();
    for seq in 1..=11 {
        let held = held(&receipt(&batches, seq), recorded.items()).unwrap();
        assert_eq!((held.seq, held.events[0].what), (seq, "drawn"));
    }
    let told = held(&receipt(&batches, 6), recorded.items()).unwrap();
    let what: Vec<_> = told.events.iter().map(|event| event.what).collect();
    assert_eq!(what, ["drawn", "admitted", "missed", "returned", "admitted"]);
    assert!(told.to_string().contains("at the journal's end the place was at its turn"), "{told}");
}

/// Where an entry that drew places cannot be read, its batch could be any: nothing is called whole then.
#[test]
fn a_journal_with_an_entry_that_cannot_be_read_is_not_whole() {
    let recorded = Recorded::healthy();
    let honest = receipt(&recorded.batches(), 11);
    let mut items = recorded.items();
    let batch = items.iter_mut().find_map(|item| match item {
        Item::Batch(_, written) => written.iter_mut().find(|written| !written.commitments.is_empty()),
        _ => None,
    });
    batch.unwrap().text = "\"x\"".into();
    assert!(matches!(held(&honest, items), Err(ReceiptError::Unreadable(_))));
}

#[test]
fn what_became_of_a_booking_is_told_also_where_one_batch_has_all_of_it() {
    let mut recorded = Recorded::healthy();
    let at = recorded.position(&booking(3));
    let confirmed = recorded.entries[at].clone();
    recorded.entries[at].1 = confirmed.1.replace("confirmed", "held");
    recorded.entries.insert(at + 1, (1, confirmed.1.replace("\"seq\":3,", "")));
    let batches = recorded.batches();
    let of = |at: usize| {
        batches.iter().position(|(batch, _)| (batch.first..=batch.last).contains(&(at as u64 + 1)))
    };
    assert_eq!(of(at), of(at + 1), "one batch has both");
    let told = held(&receipt(&batches, 3), recorded.items()).unwrap();
    let what: Vec<_> = told.events.iter().map(|event| event.what).collect();
    assert_eq!(what, ["drawn", "admitted", "claimed", "held", "booked"]);
}

#[test]
fn a_receipt_that_is_forged_or_anothers() {
    let recorded = Recorded::healthy();
    let honest = receipt(&recorded.batches(), 3);
    let foreign = Receipt { sale: SaleId::parse("autumn").unwrap(), ..honest.clone() };
    assert!(refusal(&foreign, recorded.items()).contains("give that sale's journal"));
    for forged in [
        Receipt { seq: 1, ..honest.clone() },
        Receipt { visitor: name(4).try_into().unwrap(), ..honest.clone() },
        Receipt { salt: "AAAA".into(), ..honest.clone() },
        Receipt { head: Hash([1; 32]), ..honest.clone() },
    ] {
        assert!(refusal(&forged, recorded.items()).contains("proves nothing"), "{forged:?}");
    }
}

#[test]
fn a_journal_that_is_another_than_the_receipts() {
    let recorded = Recorded::healthy();
    let honest = receipt(&recorded.batches(), 3);
    // Written anew, without him or with: it is sound, and is not what he was given.
    let mut forged = recorded.clone();
    forged.change(r#""drawn":[[1,4]]"#, r#""drawn":[[1,3]]"#);
    assert!(refusal(&honest, forged.items()).contains("went another way"));
    // Exported before he came.
    let late = receipt(&recorded.batches(), 11);
    let mut early = recorded.clone();
    early.entries.truncate(9);
    early.sold.clear();
    assert!(refusal(&late, early.items()).contains("export it again"));
    let mut broken = recorded.items();
    broken.swap(8, 9);
    assert!(refusal(&honest, broken).contains("not whole"));
}
