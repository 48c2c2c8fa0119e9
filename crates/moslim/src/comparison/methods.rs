//! The methods, one file each: how it spends its samples, and how its policies are asked.

mod cpo;
mod dpa;
mod modpo;
mod morlhf;
mod moslim;
mod p_morl;
mod per_weighting;
mod personalized_soups;
mod preferences;
mod rejection_sampling;
mod rewarded_soups;
mod ric;
mod steerlm2;

use super::dial::Dial;
use super::workshop::Workshop;
use crate::{Error, MethodName};

pub(super) use self::dpa::instruction_words;
pub(super) use self::ric::number_words;

/// Trains a method on so many samples.
pub(super) fn train<'a>(
    method: MethodName,
    shop: &mut Workshop<'a>,
    samples: usize,
) -> Result<Box<dyn Dial + 'a>, Error> {
    match method {
        MethodName::Moslim => moslim::train(shop, samples),
        MethodName::Morlhf => morlhf::train(shop, samples),
        MethodName::RewardedSoups => rewarded_soups::train(shop, samples),
        MethodName::PersonalizedSoups => personalized_soups::train(shop, samples),
        MethodName::PMorl => p_morl::train(shop, samples),
        MethodName::Ric => ric::train(shop, samples),
        MethodName::Cpo => cpo::train(shop, samples),
        MethodName::Modpo => modpo::train(shop, samples),
        MethodName::RejectionSampling => rejection_sampling::train(shop, samples),
        MethodName::Dpa => dpa::train(shop, samples),
        MethodName::SteerLm2 => steerlm2::train(shop, samples),
    }
}

/// The tables of the comparison that a method is set by.
pub(super) fn tables(method: MethodName) -> &'static [&'static str] {
    match method {
        MethodName::Moslim => &["moslim", "fine_tuning"],
        MethodName::Morlhf | MethodName::PMorl => &["morlhf"],
        MethodName::RewardedSoups | MethodName::PersonalizedSoups => &["morlhf", "rewarded_soups"],
        MethodName::Ric => &["ric", "fine_tuning"],
        MethodName::Cpo => &["cpo", "fine_tuning", "preference_tuning"],
        MethodName::Modpo => &["modpo", "preference_tuning"],
        MethodName::RejectionSampling => &["rejection_sampling", "fine_tuning"],
        MethodName::Dpa => &["dpa", "fine_tuning"],
        MethodName::SteerLm2 => &["steerlm2", "fine_tuning"],
    }
}
