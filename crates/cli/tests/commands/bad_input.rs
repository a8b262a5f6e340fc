use std::fs;

use crate::{Folder, copy, reference};

fn bert() -> String {
    reference("bert").to_str().unwrap().to_owned()
}

#[test]
fn tables_that_cannot_be_read_name_file_row_and_field() {
    let folder = Folder::new();
    let bert = bert();
    let eval = |name: &str, bytes: &[u8], more: &[&str]| {
        folder.write(name, bytes);
        folder.refused(&[&["eval", &bert, name], more].concat())
    };
    eval("missing.csv", b"text,label\na,b\nc,b\n", &["--label", "lable"])
        .names(&["missing.csv", "\"lable\"", "did you mean \"label\"?"])
        .hints("--label");
    eval("ragged.csv", b"text,label\na,b\nc\n", &[])
        .names(&["ragged.csv, row 3", "1 fields"])
        .hints("quotes");
    eval("empty.csv", b"", &[]).names(&["empty.csv", "empty"]).hints("written to its end");
    eval("header.csv", b"text,label\n", &[]).names(&["header.csv", "no rows"]).hints("written to its end");
    eval("latin.csv", b"text,label\ncaf\xe9,b\n", &[])
        .names(&["latin.csv, row 2", "\"text\"", "not UTF-8"])
        .hints("UTF-8");
    eval("broken.jsonl", b"{\"text\": \"a\", \"label\": 1}\n{\"text\": \n", &[])
        .names(&["broken.jsonl, row 2"]);
    eval("cell.csv", b"text,label\na,\nb,x\n", &[]).names(&["cell.csv, row 2", "\"label\""]);
    eval("single.csv", b"text,label\na,x\nb,y\n", &[]).names(&["every class has one example"]).hints("label");
    folder.refused(&["eval", &bert, "nowhere.csv"]).names(&["nowhere.csv"]).hints("path");
}

#[test]
fn vectors_that_cannot_be_used_name_file_and_row() {
    let folder = Folder::new();
    folder.write("x.csv", "label\na\na\nb\n");
    folder.npy("nan.npy", 2, &[1.0, 2.0, f32::NAN, 0.0, 1.0, 1.0]);
    folder
        .refused(&["eval", "nan.npy", "x.csv"])
        .names(&["nan.npy", "row 1, column 0", "NaN"])
        .hints("remove");
    folder.npy("two.npy", 2, &[1.0, 2.0, 3.0, 4.0]);
    folder
        .refused(&["eval", "two.npy", "x.csv"])
        .names(&["two.npy has 2 rows", "x.csv has 3"])
        .hints("row i");
    folder.npy("cut.npy", 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let bytes = fs::read(folder.path("cut.npy")).unwrap();
    folder.write("cut.npy", &bytes[..bytes.len() - 3]);
    folder.refused(&["eval", "cut.npy", "x.csv"]).names(&["cut.npy"]).hints("numpy.save");
    folder.write("text.npy", "not a matrix");
    folder.refused(&["eval", "text.npy", "x.csv"]).names(&["text.npy"]).hints("numpy.save");
    folder.npy("good.npy", 1, &[1.0, 2.0, 3.0]);
    folder.write("other.csv", "text\na\nb\nc\n");
    folder.refused(&["eval", "good.npy", "other.csv"]).names(&["good.npy", "no classes"]).hints("label");
}

#[test]
fn models_that_cannot_be_loaded_name_the_file() {
    let folder = Folder::new();
    folder.write("in.txt", "a line\n");
    let embed = |model: &str| folder.refused(&["embed", model, "in.txt", "-o", "out.npy"]);
    embed("nowhere/at/all").names(&["nowhere/at/all"]).hints("all-MiniLM-L6-v2");
    embed("all-MiniLM-L6-v3").names(&["all-MiniLM-L6-v3"]).hints("did you mean \"all-MiniLM-L6-v2\"?");
    embed("in.txt").names(&["in.txt", "not a model folder"]).hints("folder");

    copy(&reference("bert"), &folder.path("cut"));
    let weights = fs::read(folder.path("cut/model.safetensors")).unwrap();
    for length in [weights.len() - 100, weights.len() / 2, 100, 7, 0] {
        folder.write("cut/model.safetensors", &weights[..length]);
        embed("cut").names(&["model.safetensors"]).hints("again");
    }
    fs::remove_file(folder.path("cut/model.safetensors")).unwrap();
    embed("cut").names(&["model.safetensors"]);
    copy(&reference("bert"), &folder.path("odd"));
    let modules = fs::read_to_string(folder.path("odd/modules.json")).unwrap();
    folder.write("odd/modules.json", modules.replace("models.Pooling", "models.WordWeights"));
    embed("odd").names(&["modules.json", "WordWeights"]).hints("Pooling");
    fs::create_dir(folder.path("void")).unwrap();
    embed("void").names(&["void"]);
}

#[test]
fn outputs_that_cannot_be_written_are_named_and_nothing_is_left() {
    let folder = Folder::new();
    let bert = bert();
    folder.write("in.txt", "a line\n");
    fs::create_dir(folder.path("taken.npy")).unwrap();
    let embed = |input: &str, output: &str| folder.refused(&["embed", &bert, input, "-o", output]);
    embed("in.txt", "no/such/folder/out.npy").names(&["no/such/folder/out.npy"]).hints("path");
    embed("in.txt", "taken.npy").names(&["taken.npy", "not a regular file"]);
    embed("in.txt", "out.parquet").names(&["out.parquet"]).hints(".npy");
    // An input that breaks off in the middle leaves no output, and an older one stays as it was.
    folder.write("out.jsonl", "older\n");
    let mut text = b"text\n".to_vec();
    (0..5000).for_each(|row| text.extend_from_slice(format!("row {row}\n").as_bytes()));
    text.extend_from_slice(b"\xff\n");
    folder.write("in.csv", text);
    embed("in.csv", "out.jsonl").names(&["in.csv, row 5002"]).hints("UTF-8");
    assert_eq!(fs::read_to_string(folder.path("out.jsonl")).unwrap(), "older\n");
    embed("in.csv", "out.npy").names(&["in.csv, row 5002"]);
    folder.write("none.txt", "");
    embed("none.txt", "out.npy").names(&["none.txt", "empty"]);
    folder
        .refused(&["embed", &bert, "in.csv", "-o", "out.npy", "--column", "txt"])
        .names(&["\"txt\"", "did you mean \"text\"?"]);
    folder
        .refused(&["embed", &bert, "in.txt", "-o", "out.npy", "--prompt", "nothing"])
        .names(&["no prompt \"nothing\""]);
}
