//! Who was not let in.

use metrics::counter;

/// A wrong token of the admin API.
pub fn admin_denials() {
    counter!("waitroom_admin_denials_total").increment(1);
}
