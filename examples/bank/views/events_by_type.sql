-- dialect: sqlite

create table events_by_type (
    type  text primary key,
    count integer not null
) strict;

-- on *
insert into events_by_type values ($type, 1)
on conflict do update set count = count + 1;
