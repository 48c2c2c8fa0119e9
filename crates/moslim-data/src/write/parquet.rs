//! Labelled answers and pairs as Parquet.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::objective::integer;
use crate::{Comparison, LabeledResponse, Objective, ObjectiveSchema, Prompt};

/// Rows that are packed together.
const ROWS_PER_GROUP: usize = 1 << 16;

type Group<'g, 'f> = SerializedRowGroupWriter<'g, &'f mut File>;

/// Writes answers: `prompt`, `response`, `labels` with a column per objective, `source` in the same way, `weight`.
///
/// Levels whose names are integers are numbers.
pub(super) fn write_records(
    file: &mut File,
    schema: &ObjectiveSchema,
    records: &[LabeledResponse],
) -> io::Result<()> {
    let objectives = schema.objectives();
    let label = |objective: &Objective| match is_integer(objective) {
        true => leaf(&objective.name, Repetition::OPTIONAL, Physical::INT64),
        false => text(&objective.name, Repetition::OPTIONAL),
    };
    let source = |objective: &Objective| text(&objective.name, Repetition::OPTIONAL);
    let prompts = Prompts::of(records.iter().map(|record| &record.prompt));
    let columns = vec![
        prompts.column(),
        text("response", Repetition::REQUIRED),
        group("labels", objectives.iter().map(label).collect()),
        group("source", objectives.iter().map(source).collect()),
        leaf("weight", Repetition::REQUIRED, Physical::DOUBLE),
    ];
    write(file, columns, records, |group, records| {
        prompts.write(group, records.iter().map(|record| &record.prompt))?;
        texts(group, records.iter().map(|record| record.response.as_str()))?;
        for (index, objective) in objectives.iter().enumerate() {
            let names = records.iter().map(|record| Some(objective.levels[record.levels[index]?].as_str()));
            match is_integer(objective) {
                true => values::<Int64Type>(group, names.map(|name| integer(name?)))?,
                false => values::<ByteArrayType>(group, names.map(|name| name.map(ByteArray::from)))?,
            }
        }
        for index in 0..objectives.len() {
            let sources = records.iter().map(|record| record.sources[index].as_deref());
            values::<ByteArrayType>(group, sources.map(|source| source.map(ByteArray::from)))?;
        }
        column::<DoubleType>(
            group,
            &records.iter().map(|record| record.weight).collect::<Vec<_>>(),
            None,
            None,
        )
    })
}

/// Writes pairs: `prompt`, `chosen`, `rejected`, `objective`.
pub(super) fn write_comparisons(file: &mut File, pairs: &[Comparison]) -> io::Result<()> {
    let prompts = Prompts::of(pairs.iter().map(|pair| &pair.prompt));
    let texts_of = ["chosen", "rejected", "objective"].map(|name| text(name, Repetition::REQUIRED));
    let columns = [prompts.column()].into_iter().chain(texts_of).collect();
    write(file, columns, pairs, |group, pairs| {
        prompts.write(group, pairs.iter().map(|pair| &pair.prompt))?;
        texts(group, pairs.iter().map(|pair| pair.chosen.as_str()))?;
        texts(group, pairs.iter().map(|pair| pair.rejected.as_str()))?;
        texts(group, pairs.iter().map(|pair| pair.objective.as_str()))
    })
}

/// How the prompts of a file are written.
#[derive(Clone, Copy)]
enum Prompts {
    Texts,
    /// Lists of turns, because one of them is a conversation.
    Turns,
}

impl Prompts {
    fn of<'p>(mut prompts: impl Iterator<Item = &'p Prompt>) -> Self {
        if prompts.any(|prompt| !prompt.before.is_empty()) { Self::Turns } else { Self::Texts }
    }

    fn column(self) -> TypePtr {
        match self {
            Self::Texts => text("prompt", Repetition::REQUIRED),
            Self::Turns => {
                let turn =
                    group("element", ["role", "content"].map(|name| text(name, Repetition::REQUIRED)).into());
                let turns = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let turns = turns.with_fields(vec![turn]).build().expect("a group has no parameters");
                let list = Type::group_type_builder("prompt").with_repetition(Repetition::REQUIRED);
                let list = list.with_converted_type(ConvertedType::LIST).with_fields(vec![Arc::new(turns)]);
                Arc::new(list.build().expect("a list has one repeated group"))
            }
        }
    }

    fn write<'p>(
        self,
        group: &mut Group<'_, '_>,
        prompts: impl Iterator<Item = &'p Prompt> + Clone,
    ) -> Result<(), ParquetError> {
        if let Self::Texts = self {
            return texts(group, prompts.map(|prompt| prompt.question.as_str()));
        }
        // A list begins with repetition level 0 and goes on with 1; all turns are there.
        let begins =
            prompts.clone().flat_map(|prompt| (0..=prompt.before.len()).map(|turn| i16::from(turn > 0)));
        let begins: Vec<i16> = begins.collect();
        let there = vec![1; begins.len()];
        let roles = prompts
            .clone()
            .flat_map(|prompt| prompt.before.iter().map(|turn| turn.role.as_str()).chain(["user"]));
        let contents = prompts.flat_map(|prompt| {
            prompt.before.iter().map(|turn| turn.content.as_str()).chain([prompt.question.as_str()])
        });
        for values in
            [roles.map(ByteArray::from).collect::<Vec<_>>(), contents.map(ByteArray::from).collect()]
        {
            column::<ByteArrayType>(group, &values, Some(&there), Some(&begins))?;
        }
        Ok(())
    }
}

fn write<T>(
    file: &mut File,
    columns: Vec<TypePtr>,
    rows: &[T],
    mut write_group: impl FnMut(&mut Group<'_, '_>, &[T]) -> Result<(), ParquetError>,
) -> io::Result<()> {
    let write_all = || {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = Type::group_type_builder("rows").with_fields(columns).build()?;
        let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
        for rows in rows.chunks(ROWS_PER_GROUP) {
            let mut group = writer.next_row_group()?;
            write_group(&mut group, rows)?;
            group.close()?;
        }
        writer.close()
    };
    write_all().map(drop).map_err(|error| match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        },
        other => io::Error::other(other),
    })
}

fn is_integer(objective: &Objective) -> bool {
    objective.levels.iter().all(|level| integer(level).is_some())
}

fn leaf(name: &str, repetition: Repetition, physical: Physical) -> TypePtr {
    let built = Type::primitive_type_builder(name, physical).with_repetition(repetition).build();
    Arc::new(built.expect("a number has no parameters"))
}

fn text(name: &str, repetition: Repetition) -> TypePtr {
    let builder = Type::primitive_type_builder(name, Physical::BYTE_ARRAY).with_repetition(repetition);
    Arc::new(builder.with_converted_type(ConvertedType::UTF8).build().expect("a text is an array of bytes"))
}

fn group(name: &str, fields: Vec<TypePtr>) -> TypePtr {
    let builder = Type::group_type_builder(name).with_repetition(Repetition::REQUIRED);
    Arc::new(builder.with_fields(fields).build().expect("a group has no parameters"))
}

fn texts<'t>(group: &mut Group<'_, '_>, texts: impl Iterator<Item = &'t str>) -> Result<(), ParquetError> {
    column::<ByteArrayType>(group, &texts.map(ByteArray::from).collect::<Vec<_>>(), None, None)
}

/// Writes a column of which some values are missing.
fn values<D: DataType>(
    group: &mut Group<'_, '_>,
    values: impl Iterator<Item = Option<D::T>>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<D::T>> = values.collect();
    let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    column::<D>(group, &values.into_iter().flatten().collect::<Vec<_>>(), Some(&there), None)
}

fn column<D: DataType>(
    group: &mut Group<'_, '_>,
    values: &[D::T],
    there: Option<&[i16]>,
    begins: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has a column for everything that is written");
    column.typed::<D>().write_batch(values, there, begins)?;
    column.close()
}
