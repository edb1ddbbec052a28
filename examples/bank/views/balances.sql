-- dialect: sqlite

create table balances (
    account text primary key,
    owner   text not null,
    balance integer not null
) strict;

-- on bank.account.opened
-- require: owner
insert into balances values ($entity, :owner, 0);

-- on bank.account.deposited
-- require: amount
update balances set balance = balance + :amount where account = $entity;

-- on bank.account.debited@1, bank.account.withdrawn@1
update balances set balance = balance - :amount - coalesce(:fee, 0) where account = $entity;

-- on bank.account.withdrawn@2
-- require: amount
update balances set balance = balance - :amount where account = $entity;
