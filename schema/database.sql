CREATE TABLE "accounts" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" TEXT NOT NULL, "token_hash" TEXT NOT NULL, "max_instances" INTEGER, "created_at" INTEGER NOT NULL);
CREATE UNIQUE INDEX "accounts_name" ON "accounts" ("name");
CREATE UNIQUE INDEX "accounts_token_hash" ON "accounts" ("token_hash");
CREATE TABLE "instances" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "account_id" INTEGER NOT NULL, "name" TEXT NOT NULL, "token_hash" TEXT NOT NULL, "token_sealed" BLOB NOT NULL, "auto_reject_calls" INTEGER NOT NULL, "call_reject_message" TEXT NOT NULL, "ignore_group_messages" INTEGER NOT NULL, "keep_online_status" INTEGER NOT NULL, "auto_read_messages" INTEGER NOT NULL, "disable_history_sync" INTEGER NOT NULL, "ignore_status" INTEGER NOT NULL, "created_at" INTEGER NOT NULL, FOREIGN KEY ("account_id") REFERENCES "accounts" ("id") ON DELETE CASCADE);
CREATE INDEX "instances_account_id" ON "instances" ("account_id");
CREATE UNIQUE INDEX "instances_token_hash" ON "instances" ("token_hash");
CREATE UNIQUE INDEX "instances_account_id_name" ON "instances" ("account_id", "name");
CREATE TABLE "websocket_configs" ("instance_id" INTEGER NOT NULL PRIMARY KEY, "enabled" INTEGER NOT NULL, "events" TEXT NOT NULL, "media_base64" INTEGER NOT NULL, "updated_at" INTEGER NOT NULL, FOREIGN KEY ("instance_id") REFERENCES "instances" ("id") ON DELETE CASCADE);
