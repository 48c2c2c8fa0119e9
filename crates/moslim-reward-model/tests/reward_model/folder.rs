//! What a folder keeps, and what it refuses.

use std::path::Path;

use burn::tensor::Device;
use moslim_reward_model::{HeadConfig, HeadKind, RewardModelFolder};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn the_folder_gives_the_same_probabilities_back() {
    let model = fit_on(&records(64, 0, |_| [true, true]), 1.0);
    let held_out = records(20, 5, |_| [true, true]);
    let expected = probabilities(&model, &held_out);
    let folder = tempfile::tempdir().unwrap();
    model.write_into(folder.path()).unwrap();
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"]["3"], "count=3");
    assert_eq!(config["id2label"]["5"], "shout=1");
    let read = RewardModelFolder::read(folder.path(), &Device::default()).unwrap();
    assert_eq!(read.schema, schema());
    assert_eq!(probabilities(&read, &held_out), expected);
    assert_eq!(read.golden, model.golden);

    // Sizes that the file cannot have are refused before memory is taken for them.
    let mut huge = config.clone();
    huge["vocab_size"] = (1 << 24).into();
    std::fs::write(folder.path().join("config.json"), huge.to_string()).unwrap();
    let message = RewardModelFolder::read(folder.path(), &Device::default()).unwrap_err().to_string();
    assert!(message.contains("bytes, expected the"), "{message}");
}

fn read_error(folder: &Path) -> String {
    RewardModelFolder::read(folder, &Device::default()).unwrap_err().to_string()
}

#[test]
fn every_kind_of_head_survives_its_folder() {
    let train = records(64, 0, |_| [true, true]);
    let held_out = records(20, 5, |_| [true, true]);
    for kind in [
        HeadKind::SmoothedSoftmax { smoothing: 0.1 },
        HeadKind::HlGauss { sigma: 0.75 },
        HeadKind::Ordinal,
        HeadKind::Regression,
        HeadKind::BradleyTerry { margin: 0.5 },
    ] {
        for hidden_size in [None, Some(6)] {
            let heads = [kind.clone(), HeadKind::Softmax].map(|kind| HeadConfig { kind, hidden_size });
            let model = fit_heads(&train, &heads, &config(1.0));
            let folder = tempfile::tempdir().unwrap();
            model.write_into(folder.path()).unwrap();
            let read = RewardModelFolder::read(folder.path(), &Device::default()).unwrap();
            assert_eq!((&read.heads, &read.readers), (&model.heads, &model.readers));
            assert_eq!(probabilities(&read, &held_out), probabilities(&model, &held_out));
            // transformers must not read what it would compute otherwise.
            let config: Value =
                serde_json::from_str(&std::fs::read_to_string(folder.path().join("config.json")).unwrap())
                    .unwrap();
            let names = if kind.n_outputs(4) == 1 {
                json!({"0": "count", "1": "shout=0", "2": "shout=1"})
            } else {
                json!({"0": "count=0", "1": "count=1", "2": "count=2", "3": "count=3", "4": "shout=0", "5": "shout=1"})
            };
            assert_eq!(config.get("id2label"), hidden_size.is_none().then_some(&names));
            let n = names.as_object().unwrap().len() + usize::from(hidden_size.is_some());
            assert_eq!(config["num_labels"], n, "layers of their own must not be left out in silence");
        }
    }
}

#[test]
fn a_folder_that_says_something_else_than_when_it_was_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fit_on(&records(64, 0, |_| [true, true]), 1.0).write_into(folder.path()).unwrap();
    let path = folder.path().join("objectives.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut changed = written.clone();
        change(&mut changed);
        std::fs::write(&path, changed.to_string()).unwrap();
        let message = read_error(folder.path());
        assert!(message.contains("objectives.json") && message.contains(expected), "{message}");
    };
    refused(&|file| file["golden"][0]["outputs"][0][1] = json!(99.0), "golden: found outputs");
    refused(&|file| file["golden"][0]["outputs"][0] = json!([]), "golden: found outputs");
    refused(&|file| file["golden"][0]["response"] = json!([7000]), "token 7000");
    refused(&|file| file["golden"][0]["prompt"] = json!([]), "golden");
    refused(
        &|file| drop(file["heads"].as_array_mut().unwrap().pop()),
        "found 1 heads, expected one for each of 2",
    );
    refused(&|file| file["heads"][0]["readout"]["softmax"]["scale"] = json!([1.0]), "bias");
    refused(&|file| file["heads"][0]["kind"] = json!({"hl_gauss": {"sigma": -1.0}}), "count: sigma: -1");
    refused(&|file| file["heads"][0]["kind"] = json!("ordinal"), "count: Softmax");
    refused(&|file| file["heads"][1] = file["heads"][0].clone(), "shout: Softmax");
    std::fs::write(&path, written.to_string()).unwrap();
    assert!(RewardModelFolder::read(folder.path(), &Device::default()).is_ok());
}
