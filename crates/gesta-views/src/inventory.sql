-- dialect: sqlite

-- How many events of each type and schema version a log has, and where. In one partition positions rise, so the last event is the
-- newest.
create table inventory (
    type      text not null,
    version   integer not null,
    partition integer not null,
    count     integer not null,
    first     integer not null,
    last      integer not null,
    primary key (type, version, partition)
) strict, without rowid;

-- on *
insert into inventory values ($type, $schema_version, $partition, 1, $position, $position)
on conflict do update set count = count + 1, last = excluded.last;
