//! The pages of the book, so that `cargo test --doc` compiles their programs and runs them.
//!
//! `tests/book` sees to it that no page is missing.

#[doc = include_str!("../docs/README.md")]
struct FrontPage;

#[doc = include_str!("../docs/tutorial.md")]
struct Tutorial;

#[doc = include_str!("../docs/zh/tutorial.md")]
struct ChineseTutorial;

#[doc = include_str!("../docs/zh/path.md")]
struct ChinesePath;

#[doc = include_str!("../docs/guide/getting-started.md")]
struct GuideGettingStarted;

#[doc = include_str!("../docs/guide/recipes.md")]
struct GuideRecipes;

#[doc = include_str!("../docs/guide/recipes/sockets.md")]
struct GuideRecipesSockets;

#[doc = include_str!("../docs/guide/recipes/program.md")]
struct GuideRecipesProgram;

#[doc = include_str!("../docs/guide/recipes/handlers.md")]
struct GuideRecipesHandlers;

#[doc = include_str!("../docs/guide/recipes/clients.md")]
struct GuideRecipesClients;

#[doc = include_str!("../docs/guide/recipes/tests.md")]
struct GuideRecipesTests;

#[doc = include_str!("../docs/guide/handler.md")]
struct GuideHandler;

#[doc = include_str!("../docs/guide/two-connections.md")]
struct GuideTwoConnections;

#[doc = include_str!("../docs/guide/testing.md")]
struct GuideTesting;

#[doc = include_str!("../docs/guide/mix-in.md")]
struct GuideMixIn;

#[doc = include_str!("../docs/guide/options.md")]
struct GuideOptions;

#[doc = include_str!("../docs/guide/tls.md")]
struct GuideTls;

#[doc = include_str!("../docs/guide/http.md")]
struct GuideHttp;

#[doc = include_str!("../docs/guide/exec.md")]
struct GuideExec;

#[doc = include_str!("../docs/guide/addresses.md")]
struct GuideAddresses;

#[doc = include_str!("../docs/guide/metrics.md")]
struct GuideMetrics;

#[doc = include_str!("../docs/guide/limits.md")]
struct GuideLimits;

#[doc = include_str!("../docs/guide/stopping.md")]
struct GuideStopping;

#[doc = include_str!("../docs/guide/shared-state.md")]
struct GuideSharedState;

#[doc = include_str!("../docs/guide/layer.md")]
struct GuideLayer;

#[doc = include_str!("../docs/guide/bottom-layer.md")]
struct GuideBottomLayer;

#[doc = include_str!("../docs/guide/udp.md")]
struct GuideUdp;

#[doc = include_str!("../docs/guide/unix-sockets.md")]
struct GuideUnixSockets;

#[doc = include_str!("../docs/guide/proxy-protocol.md")]
struct GuideProxyProtocol;

#[doc = include_str!("../docs/guide/framing.md")]
struct GuideFraming;

#[doc = include_str!("../docs/guide/files.md")]
struct GuideFiles;

#[doc = include_str!("../docs/guide/file-protocol.md")]
struct GuideFileProtocol;

#[doc = include_str!("../docs/guide/deployment.md")]
struct GuideDeployment;

#[doc = include_str!("../docs/guide/systemd.md")]
struct GuideSystemd;

#[doc = include_str!("../docs/guide/restart.md")]
struct GuideRestart;

#[doc = include_str!("../docs/guide/from-python.md")]
struct GuideFromPython;

#[doc = include_str!("../docs/guide/troubleshooting.md")]
struct GuideTroubleshooting;

#[doc = include_str!("../docs/guide/soak.md")]
struct GuideSoak;

#[doc = include_str!("../docs/basics/client-server.md")]
struct BasicsClientServer;

#[doc = include_str!("../docs/basics/tcp-udp.md")]
struct BasicsTcpUdp;

#[doc = include_str!("../docs/basics/buffers.md")]
struct BasicsBuffers;

#[doc = include_str!("../docs/basics/sticky-packets.md")]
struct BasicsStickyPackets;

#[doc = include_str!("../docs/basics/messages.md")]
struct BasicsMessages;

#[doc = include_str!("../docs/basics/datagrams.md")]
struct BasicsDatagrams;

#[doc = include_str!("../docs/design/README.md")]
struct Design;

#[doc = include_str!("../docs/design/classes.md")]
struct DesignClasses;

#[doc = include_str!("../docs/design/lookup.md")]
struct DesignLookup;

#[doc = include_str!("../docs/design/request.md")]
struct DesignRequest;

#[doc = include_str!("../docs/design/path.md")]
struct DesignPath;

#[doc = include_str!("../docs/design/handler.md")]
struct DesignHandler;

#[doc = include_str!("../docs/design/decisions/README.md")]
struct DesignDecisions;

#[doc = include_str!("../docs/design/decisions/top.md")]
struct DesignDecisionsTop;

#[doc = include_str!("../docs/design/decisions/closing.md")]
struct DesignDecisionsClosing;

#[doc = include_str!("../docs/design/decisions/wakeup.md")]
struct DesignDecisionsWakeup;

#[doc = include_str!("../docs/design/decisions/getting-first.md")]
struct DesignDecisionsGettingFirst;

#[doc = include_str!("../docs/design/decisions/several-addresses.md")]
struct DesignDecisionsSeveralAddresses;

#[doc = include_str!("../docs/design/decisions/hand-over.md")]
struct DesignDecisionsHandOver;

#[doc = include_str!("../docs/design/decisions/pool-bound.md")]
struct DesignDecisionsPoolBound;

#[doc = include_str!("../docs/design/decisions/reaping.md")]
struct DesignDecisionsReaping;

#[doc = include_str!("../docs/design/decisions/child-reports.md")]
struct DesignDecisionsChildReports;

#[doc = include_str!("../docs/design/decisions/idle-connections.md")]
struct DesignDecisionsIdleConnections;

#[doc = include_str!("../docs/design/decisions/drain.md")]
struct DesignDecisionsDrain;

#[doc = include_str!("../docs/design/decisions/reactor.md")]
struct DesignDecisionsReactor;

#[doc = include_str!("../docs/design/reactor.md")]
struct DesignReactor;

#[doc = include_str!("../docs/guide/reactor.md")]
struct GuideReactor;

#[doc = include_str!("../docs/design/decisions/proxy-header.md")]
struct DesignDecisionsProxyHeader;

#[doc = include_str!("../docs/design/decisions/lingering.md")]
struct DesignDecisionsLingering;

#[doc = include_str!("../docs/design/decisions/panics.md")]
struct DesignDecisionsPanics;

#[doc = include_str!("../docs/design/decisions/processes.md")]
struct DesignDecisionsProcesses;

#[doc = include_str!("../docs/design/decisions/limits.md")]
struct DesignDecisionsLimits;

#[doc = include_str!("../docs/design/decisions/defaults.md")]
struct DesignDecisionsDefaults;

#[doc = include_str!("../docs/design/decisions/tls.md")]
struct DecisionTls;

#[doc = include_str!("../docs/design/decisions/turns.md")]
struct DesignDecisionsTurns;

#[doc = include_str!("../docs/design/decisions/deadlines.md")]
struct DesignDecisionsDeadlines;

#[doc = include_str!("../docs/design/decisions/events.md")]
struct DesignDecisionsEvents;

#[doc = include_str!("../docs/design/decisions/http.md")]
struct DecisionHttp;

#[doc = include_str!("../docs/design/decisions/exec.md")]
struct DecisionExec;

#[doc = include_str!("../docs/design/decisions/nagle.md")]
struct DesignDecisionsNagle;

#[doc = include_str!("../docs/design/decisions/memory.md")]
struct DesignDecisionsMemory;

#[doc = include_str!("../docs/design/python-names.md")]
struct DesignPythonNames;

#[doc = include_str!("../docs/design/cpython-tests.md")]
struct DesignCpythonTests;

#[doc = include_str!("../docs/terms.md")]
struct Terms;
