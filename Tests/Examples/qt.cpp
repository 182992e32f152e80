// qt ADDRESS DEFAULT BUFFER: primed in a Qt event loop, as of KWin: by the library and a QSocketNotifier, and then without
// the library, by QtDBus. Prints a line for each.

#include <QCoreApplication>
#include <QDBusConnection>
#include <QDBusMessage>
#include <QDBusMetaType>
#include <QDBusPendingCallWatcher>
#include <QDBusPendingReply>
#include <QDBusUnixFileDescriptor>
#include <QSocketNotifier>
#include <QTextStream>
#include <primed-client.h>
#include <sys/mman.h>
#include <unistd.h>

static void print(const char *how, const QString &name, quint64 device, uint access)
{
	QTextStream(stdout) << how << ' ' << name << ' ' << device << ' ' << access << '\n';
}

class Primed : public QObject
{
public:
	Primed(const char *address, dev_t device)
	{
		primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
		options.address = address;
		options.default_device = device;
		m_client = primed_client_open(&options);
		m_notifier = new QSocketNotifier(primed_client_get_fd(m_client), QSocketNotifier::Read, this);
		connect(m_notifier, &QSocketNotifier::activated, this, [this] { primed_client_dispatch(m_client); });
	}

	~Primed() override
	{
		m_notifier->setEnabled(false);
		primed_client_close(m_client);
	}

	void place(int fd, const QString &name)
	{
		primed_placement now = PRIMED_PLACEMENT_INIT;
		primed_query query = PRIMED_QUERY_INIT;
		query.planes = &fd;
		query.n_planes = 1;
		auto *asker = new QString(name);
		if (primed_client_place(m_client, &query, &now, placed, asker) != 0)
			placed(&now, asker);
	}

private:
	static void placed(const primed_placement *placement, void *data)
	{
		auto *name = static_cast<QString *>(data);
		print("library", *name, placement->device, placement->access);
		delete name;
		QCoreApplication::quit();
	}

	primed_client *m_client;
	QSocketNotifier *m_notifier;
};

// Place(ah, a{sv}): QtDBus sends a QList<QDBusUnixFileDescriptor> as `ah`, once the type is known to it.
static void placeByQtDBus(const QDBusConnection &bus, int fd, const QString &name)
{
	QList<QDBusUnixFileDescriptor> planes{QDBusUnixFileDescriptor(fd)};
	QDBusMessage call = QDBusMessage::createMethodCall("org.primed.Broker1", "/org/primed/Broker1",
							   "org.primed.Broker1", "Place");
	call.setArguments({QVariant::fromValue(planes), QVariantMap{{"verdicts", true}}});
	auto *watcher = new QDBusPendingCallWatcher(bus.asyncCall(call, 500));
	QObject::connect(watcher, &QDBusPendingCallWatcher::finished, [name](QDBusPendingCallWatcher *done) {
		const QDBusMessage reply = done->reply();
		if (reply.type() == QDBusMessage::ReplyMessage)
			print("qtdbus", name, reply.arguments().at(0).toULongLong(), reply.arguments().at(1).toUInt());
		done->deleteLater();
		QCoreApplication::quit();
	});
}

int main(int count, char **words)
{
	QCoreApplication app(count, words);
	if (count != 4)
		return 2;
	qDBusRegisterMetaType<QList<QDBusUnixFileDescriptor>>();
	const QString name = words[3];
	const int fd = memfd_create(QString("primed:" + name).toUtf8().constData(), MFD_CLOEXEC);
	Primed primed(words[1], QString(words[2]).toULongLong());
	QMetaObject::invokeMethod(&app, [&] { primed.place(fd, name); }, Qt::QueuedConnection);
	app.exec();
	const QDBusConnection bus = QDBusConnection::connectToBus(QString(words[1]), "primed");
	placeByQtDBus(bus, fd, name);
	app.exec();
	close(fd);
	return 0;
}
